/**
 * The outcome of a task: made by the tracer (run/trace.ts) in a pool slot, or by the pool for a slot that
 * died; read by the worker's requests. Plain data, so that it crosses a pipe or a postMessage.
 */

import type { WireException } from "../../wire/mod.ts";

/** How a task ended. */
export type OutcomeKind =
  | "success"
  | "failure"
  | "retry"
  | "ignore"
  | "reject"
  /** The slot died while the task ran (signal, exit, out of memory). */
  | "lost"
  /** The hard time limit passed and the slot was ended. */
  | "timeout"
  /** `revoke(terminate)` ended it. */
  | "terminated"
  /**
   * The task never started: the slot returned it (restart, shrink, the death of another task in its batch).
   */
  | "returned";

/**
 * What a slot receives for a task that its worker has ended, so that it calls the user's functions for that
 * end. Plain data.
 */
export interface EndedTask {
  readonly exception: WireException;
  /** Null if the worker itself ended the task. */
  readonly traceback: string | null;
  /**
   * Which functions to call: the task's own hooks and `taskFailure`; only the signal; or only the errbacks.
   */
  readonly hooks: "all" | "signal" | "none";
}

/** A finished member of a chord, as the worker passes it to the store. */
export interface OutcomeChord {
  groupId: string;
  groupIndex: number | null;
  /** JSON of the body's signature; null if it is the one in the task's own message. */
  body: string | null;
  /** JSON of the value or of the exception object. */
  result: string;
  /**
   * Its span as a W3C `traceparent`, if it has one: the span of the body links to the spans of the header.
   */
  traceparent?: string | undefined;
}

/** The outcome of one job. */
export interface Outcome {
  /** The job's number (pool/pool.ts). */
  seq: number;
  kind: OutcomeKind;
  /** The state to store, or null if nothing is stored (ignored results, Ignore, Reject, returned). */
  state: string | null;
  /** The document to store with it: text, or bytes of a binary serializer. */
  document: string | Uint8Array | null;
  /** Seconds for which the function ran. */
  runtime: number;
  /**
   * Python's repr of the value or exception, at most 1024 characters; for a retry the log's text after
   * "retry: ".
   */
  summary: string;
  /** The exception's repr, for events; empty on success. */
  exception: string;
  traceback: string | null;
  /** True for a failure of a type that the task declares in `throws`. */
  expected: boolean;
  /** For kind "reject": whether the message is put back into its queue. */
  requeue: boolean;
  chord: OutcomeChord | null;
  /**
   * Failures only: the same failure for the steps of the chain that will not run; absent or null if there are
   * none.
   */
  also?: readonly AlsoFailed[] | null;
}

/**
 * A step of a chain that fails because an earlier step did. It is stored, and counted in its chord, as its
 * own failure.
 */
export interface AlsoFailed {
  taskId: string;
  state: string;
  document: string | Uint8Array | null;
  chord: OutcomeChord | null;
  /** Where the step would have sent its result, over rpc. */
  replyTo: string | null;
}

/** Returns an outcome with only these fields set; the caller fills in others. All outcomes have one shape. */
export function bareOutcome(
  seq: number,
  kind: OutcomeKind,
  summary: string = "",
  exception: string = "",
): Outcome {
  return {
    seq,
    kind,
    state: null,
    document: null,
    runtime: 0,
    summary,
    exception,
    traceback: null,
    expected: false,
    requeue: false,
    chord: null,
    also: null,
  };
}
