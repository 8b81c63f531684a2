/**
 * The outcome of running a task: made by the tracer (run/trace.ts) inside a pool slot or by the pool for a slot that
 * died, read by the worker's requests. Plain data, so that it crosses a pipe or a postMessage.
 */

import type { WireException } from "../../wire/mod.ts";

/** How it ended. */
export type OutcomeKind =
  | "success"
  | "failure"
  | "retry"
  | "ignore"
  | "reject"
  /** The slot died under it (signal, exit, out of memory). */
  | "lost"
  /** Its hard time limit passed and the slot was ended. */
  | "timeout"
  /** `revoke(terminate)` ended it. */
  | "terminated"
  /** It never started: the slot gives it back unchanged (restart, shrink, a death elsewhere in its batch). */
  | "returned";

/**
 * What a slot is told of a task that its worker has ended, so that it calls the user's functions that are to hear of
 * it. Plain data.
 */
export interface EndedTask {
  readonly exception: WireException;
  /** Null if the worker itself decided it. */
  readonly traceback: string | null;
  /** The task's own hooks and `taskFailure`; the signal alone; or only its errbacks. */
  readonly hooks: "all" | "signal" | "none";
}

/** A finished chord member, as the worker hands it to the store. */
export interface OutcomeChord {
  groupId: string;
  groupIndex: number | null;
  /** JSON of the body's signature; null: the one in the task's own message. */
  body: string | null;
  /** JSON of the value or of the exception object. */
  result: string;
  /** Its span as a W3C header, where one is recorded: the body's span has links to those of the header. */
  traceparent?: string | undefined;
}

/** One outcome. */
export interface Outcome {
  /** The job's number (pool/pool.ts). */
  seq: number;
  kind: OutcomeKind;
  /** The state to store, or null if nothing is stored (ignored results, Ignore, Reject, returned). */
  state: string | null;
  /** The document to store with it: text, or bytes of a binary serializer. */
  document: string | Uint8Array | null;
  /** Seconds the function ran. */
  runtime: number;
  /** Python's repr of the value or exception, at most 1024 characters; for retry the log's text after "retry: ". */
  summary: string;
  /** The exception's repr alone, for events; empty on success. */
  exception: string;
  traceback: string | null;
  /** A failure of a type the task declares in `throws`. */
  expected: boolean;
  /** Of reject. */
  requeue: boolean;
  chord: OutcomeChord | null;
  /** Failures only: the same failure for the steps of the chain that will not run; absent or null: none. */
  also?: readonly AlsoFailed[] | null;
}

/** A step of a chain that fails because one before it did: stored, and counted in its chord, as its own failure. */
export interface AlsoFailed {
  taskId: string;
  state: string;
  document: string | Uint8Array | null;
  chord: OutcomeChord | null;
  /** Where the step itself would have sent its result, over rpc. */
  replyTo: string | null;
}

/** An outcome of which nothing but this is known; whoever makes it fills in the rest. One shape for all. */
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
