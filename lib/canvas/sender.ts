/**
 * The sender of signatures: the app as the canvas sees it, which itself does not depend on brokers.
 *
 * Source: celery 5.2.6 canvas.py Signature._apply_async, _state.py current_app.
 */

import { assert } from "../base/mod.ts";
import type { ResultTuple, WireSignature } from "../wire/mod.ts";
import type { SignatureOptions } from "./options.ts";

/** The common interface of `AsyncResult`, `GroupResult` and `EagerResult`. */
export interface CanvasResult<R = unknown> {
  readonly id: string;
  /** The result of the previous step of its chain. */
  parent: CanvasResult | null;
  /** Resolves with the value. Rejects with the task's error, or after `timeout` seconds. */
  get(options?: { timeout?: number | null; propagate?: boolean }): Promise<R>;
  ready(): Promise<boolean>;
  successful(): Promise<boolean>;
  failed(): Promise<boolean>;
  /** `hasEnded`: the later steps have ended, so that a group is done as a chord's header too. */
  forget(options?: { hasEnded?: boolean }): Promise<void>;
  /** Returns Celery's JSON form. */
  asTuple(): ResultTuple;
  /** Returns the ids of its tasks. */
  leafIds(): readonly string[];
}

/** The result of sending one call, a chain or a chord: an `AsyncResult`, as which the app declares it. */
// deno-lint-ignore no-empty-interface -- app/result/results.ts fills it in
export interface SentResult<R = unknown> {}

/**
 * The result of sending a group: a `GroupResult`, as which the app declares it. `R` is the result of each of
 * its calls.
 */
// deno-lint-ignore no-empty-interface -- app/result/group_result.ts fills it in
export interface SentGroup<R = unknown> {}

/** The part of a `Signature` that a sender needs. */
export interface Sendable {
  readonly task: string;
  toJSON(): WireSignature;
}

/** An app, as the canvas sees it. */
export interface CanvasSender {
  newId(): string;
  /** Returns the queue for rpc results of this process. */
  replyTo(): string;
  /**
   * Returns a signature's wire form, with the original data of parts that came unchanged with the running
   * task's message.
   */
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

/** Sets the sender of signatures without an app: the app that was created last. */
export function setCurrentSender(sender: CanvasSender): void {
  current = sender;
}

/** As `currentSender`; null before an App is created. */
export function currentSenderOrNull(): CanvasSender | null {
  return current;
}

/** Returns the sender of signatures without an app. Fails if no App was created. */
export function currentSender(): CanvasSender {
  assert(current, "an App was made before a signature is frozen or sent");
  return current;
}
