/**
 * The API's answers by request path (`tasks?search=x`). Pages read them; the stream and fetches write them.
 * The server fills the store before it renders a page.
 */

import { type Signal, signal } from "@preact/signals";
import type { Shape } from "../api/v1/schema.ts";
import { time } from "./clock.ts";
import { address, prefix } from "./place.ts";

/** The state of one path. */
export interface Entry {
  readonly data: unknown;
  /** Why the last fetch failed; data of an earlier fetch stays. */
  readonly fault: Shape<"Fault"> | null;
  /** When the data arrived, server's clock, seconds. */
  readonly at: number;
}

/** The error of a request that the API refused or failed. */
class ApiError extends Error {
  /** The error and what to do about it. */
  readonly fault: Shape<"Fault">;
  readonly status: number;

  constructor(status: number, fault: Shape<"Fault">) {
    super(fault.error);
    this.status = status;
    this.fault = fault;
  }
}

/** The session: user and permissions. */
export const session: Signal<Shape<"Session">> = signal({} as Shape<"Session">);

/** True while a fetch for the next page takes noticeably long. */
export const isLoading: Signal<boolean> = signal(false);

/** The paths that the current page needs. */
export const shown: Signal<readonly string[]> = signal([]);

const entries = new Map<string, Signal<Entry | null>>();
const KEPT_MAX = 60;

/** Returns the entry of a path; its value is null until an answer or error arrived. */
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

/** Stores an answer. */
export function put(path: string, data: unknown): void {
  entry(path).value = { data, fault: null, at: time() };
}

/** Removes all entries; the server does so before each page. */
export function forgetAll(): void {
  entries.clear();
}

/** Fetches a path and stores the answer or the error. Never rejects. */
export async function load(path: string): Promise<void> {
  const slot = entry(path);
  try {
    put(path, await call(path));
  } catch (error) {
    slot.value = { data: slot.peek()?.data, fault: faultOf(error), at: slot.peek()?.at ?? 0 };
  }
}

/**
 * Sends a request to the API, a POST if there is a body (JSON text). Rejects with `ApiError`, or if fetch
 * fails.
 */
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
  // The session has ended. The login page returns here.
  if (response.status === 401) {
    location.assign(`${prefix.value}/login?next=${encodeURIComponent(address.value)}`);
  }
  const error = reply?.error ?? `The console answered ${response.status} ${response.statusText}`;
  throw new ApiError(response.status, { error, hint: reply?.hint ?? null });
}

/** Returns what went wrong, in one sentence, and what to do. */
export function faultOf(error: unknown): Shape<"Fault"> {
  if (error instanceof ApiError) return error.fault;
  return {
    error: "The console does not answer",
    hint: "Check that it is running. This page keeps trying.",
  };
}

/** Returns true if the session may take an action. */
export function may(action: Shape<"Action">): boolean {
  return session.value.actions.includes(action);
}
