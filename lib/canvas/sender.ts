/**
 * Who sends signatures: the app, seen from the canvas, which knows nothing of brokers.
 *
 * Source: celery 5.2.6 canvas.py Signature._apply_async, _state.py current_app.
 */

import { assert } from "../base/mod.ts";
import type { ResultTuple, WireSignature } from "../wire/mod.ts";
import type { SignatureOptions } from "./options.ts";

/** What `AsyncResult`, `GroupResult` and `EagerResult` have in common. */
export interface CanvasResult<R = unknown> {
  readonly id: string;
  /** The result of what came before it in a chain. */
  parent: CanvasResult | null;
  /** The value. Rejects with the task's error, or after `timeout` seconds. */
  get(options?: { timeout?: number | null; propagate?: boolean }): Promise<R>;
  ready(): Promise<boolean>;
  successful(): Promise<boolean>;
  failed(): Promise<boolean>;
  /** `hasEnded`: what follows has ended, so that a group is done as a chord's header too. */
  forget(options?: { hasEnded?: boolean }): Promise<void>;
  /** Celery's JSON form. */
  asTuple(): ResultTuple;
  /** Ids of the tasks it stands for. */
  leafIds(): readonly string[];
}

/** What sending one call, a chain of calls or a chord resolves to: an `AsyncResult`, as the app says. */
// deno-lint-ignore no-empty-interface -- app/result/results.ts fills it in
export interface SentResult<R = unknown> {}

/** What sending a group resolves to: a `GroupResult`, as the app says. `R` is what each of its calls comes to. */
// deno-lint-ignore no-empty-interface -- app/result/group_result.ts fills it in
export interface SentGroup<R = unknown> {}

/** What a sender is given: in truth a `Signature`. */
export interface Sendable {
  readonly task: string;
  toJSON(): WireSignature;
}

/** An app, as the canvas sees it. */
export interface CanvasSender {
  newId(): string;
  /** Where rpc results of this process go. */
  replyTo(): string;
  /** A signature as plain data, its parts as the running task's message brought them where they are unchanged. */
  restored(wire: WireSignature): WireSignature;
  /** `task_protocol` 1: chains are made of links. */
  readonly linksChains: boolean;
  /** `task_allow_error_cb_on_chord_header`. */
  readonly errbacksOnHeader: boolean;
  applyAsync(
    signature: Sendable,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: SignatureOptions,
  ): Promise<CanvasResult>;
  apply(
    signature: Sendable,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: SignatureOptions,
  ): Promise<CanvasResult>;
}

let current: CanvasSender | null = null;

/** Sets who sends signatures that name no app: the app made last. */
export function setCurrentSender(sender: CanvasSender): void {
  current = sender;
}

/** As `currentSender`, or null before an App was made. */
export function currentSenderOrNull(): CanvasSender | null {
  return current;
}

/** Who sends signatures that name no app. */
export function currentSender(): CanvasSender {
  assert(current, "an App was made before a signature is frozen or sent");
  return current;
}
