/**
 * What the API answered, by the path that was asked (`tasks?search=x`). A page reads from here; the stream and fetches
 * write here. On the server it is filled before the page is made.
 */

import { type Signal, signal } from "@preact/signals";
import type { Shape } from "../api/v1/schema.ts";
import { time } from "./clock.ts";
import { address, prefix } from "./place.ts";

/** What is known of one path. */
export interface Entry {
  readonly data: unknown;
  /** Why the last fetch failed; data of an earlier one stays. */
  readonly fault: Shape<"Fault"> | null;
  /** When it came, by the server's clock in seconds. */
  readonly at: number;
}

/** A refusal or failure of the API. */
class ApiError extends Error {
  /** What went wrong and what to do. */
  readonly fault: Shape<"Fault">;
  readonly status: number;

  constructor(status: number, fault: Shape<"Fault">) {
    super(fault.error);
    this.status = status;
    this.fault = fault;
  }
}

/** Who asks, and what they may do. */
export const session: Signal<Shape<"Session">> = signal({} as Shape<"Session">);

/** Whether a fetch for the next page takes noticeably long. */
export const isLoading: Signal<boolean> = signal(false);

/** The paths that the page on show is made of. */
export const shown: Signal<readonly string[]> = signal([]);

const entries = new Map<string, Signal<Entry | null>>();
const KEPT_MAX = 60;

/** The entry of a path: a signal, null until something came. */
export function entry(path: string): Signal<Entry | null> {
  let found = entries.get(path);
  if (found === undefined) {
    found = signal(null);
    entries.set(path, found);
    if (entries.size > KEPT_MAX) entries.delete(entries.keys().next().value!);
  } else {
    entries.delete(path);
    entries.set(path, found);
  }
  return found;
}

/** Puts an answer in its place. */
export function put(path: string, data: unknown): void {
  entry(path).value = { data, fault: null, at: time() };
}

/** Forgets everything: the server does before each page. */
export function forgetAll(): void {
  entries.clear();
}

/** Fetches a path and puts the answer, or why there is none, in its place. */
export async function load(path: string): Promise<void> {
  const slot = entry(path);
  try {
    put(path, await call(path));
  } catch (error) {
    slot.value = { data: slot.peek()?.data, fault: faultOf(error), at: slot.peek()?.at ?? 0 };
  }
}

/** Asks the API: a POST if there is a body (JSON as text). Throws `ApiError`. */
export async function call<T>(path: string, body?: string): Promise<T> {
  const response = await fetch(`${prefix.value}/api/v1/${path}`, {
    headers: {
      accept: "application/json",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { method: "POST", body }),
  });
  const reply = await response.json().catch(() => null);
  if (response.ok && reply !== null) return reply;
  // The session has ended: the login page leads back here.
  if (response.status === 401) {
    location.assign(`${prefix.value}/login?next=${encodeURIComponent(address.value)}`);
  }
  const error = reply?.error ?? `The console answered ${response.status} ${response.statusText}`;
  throw new ApiError(response.status, { error, hint: reply?.hint ?? null });
}

/** What went wrong, in a sentence, and what to do. */
export function faultOf(error: unknown): Shape<"Fault"> {
  if (error instanceof ApiError) return error.fault;
  return {
    error: "The console does not answer",
    hint: "Is it still running? This page tries again by itself.",
  };
}

/** Whether this session may do an action. */
export function may(action: Shape<"Action">): boolean {
  return session.value.actions.includes(action);
}
