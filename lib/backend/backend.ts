/**
 * Result stores: what memory, sqlite, redis, rpc and disabled all are.
 *
 * `store` is the data lane: it appends, and the store writes batches at the end of the turn. Everything else is
 * ordinary async code. The document is encoded by whoever ran the task (wire/result_meta.ts); a store moves text.
 */

import { READY_STATES, type ResultMeta, type TaskState } from "../wire/mod.ts";
import type { RpcOptions } from "./rpc.ts";

/** One result on its way in. */
export interface ResultRecord {
  readonly taskId: string;
  readonly state: TaskState;
  /** The result document of Celery, encoded by `result_serializer`: JSON text, or bytes of a binary serializer. */
  readonly document: string | Uint8Array;
  /**
   * True where something better may be stored already (of redelivered messages, and of retries): the store then looks,
   * and `mustStay` decides. False skips that look.
   */
  readonly guard: boolean;
  /** For rpc: the queue that waits for it. */
  readonly replyTo: string | null;
}

/**
 * Whether a stored state stays where a guarded record comes: a SUCCESS always, as in Celery, and any end where it is a
 * retry that comes behind it.
 */
export function mustStay(stored: TaskState, comes: TaskState): boolean {
  return stored === "SUCCESS" || comes === "RETRY" && READY_STATES.has(stored);
}

/** One finished header task of a chord. */
export interface ChordPart {
  readonly groupId: string;
  readonly groupIndex: number | null;
  readonly taskId: string;
  readonly state: TaskState;
  /** JSON of the value, or of the exception object. */
  readonly result: string;
}

/** A chord's header that is complete. */
export interface CompleteHeader {
  /** Which of the parts counted made it so. */
  readonly part: ChordPart;
  /**
   * Its members in order; null where another process has brought the chord to its end meanwhile. Rejects with
   * HeaderJoinTimeout where the header holds groups and a result of theirs is not there in time.
   */
  members(): Promise<ChordMember[] | null>;
}

/** A member of a complete chord header, in order of its index. */
export interface ChordMember {
  readonly taskId: string;
  readonly state: TaskState;
  /** Decoded value, or WireException. */
  readonly result: unknown;
}

/** A wait for results. */
export interface Watch {
  /** Waits for more ids. */
  add(ids: readonly string[]): void;
  /** No longer waits for an id. */
  drop(id: string): void;
  close(): void;
}

/** A result store. */
export interface Backend extends AsyncDisposable {
  readonly kind: "memory" | "sqlite" | "redis" | "rpc" | "disabled";
  /** The URL with its password masked; "disabled://" for none. */
  readonly url: string;
  /** Chord headers are counted by the store; otherwise `celery.chord_unlock` polls. */
  readonly countsChords: boolean;
  /** Results go by themselves after `result_expires`; otherwise `cleanup` is run by `celery.backend_cleanup`. */
  readonly expiresByItself: boolean;

  /**
   * Appends a result. `done`, where given, is called once when it is stored for good or, with the error, when it
   * never will be (after `result_backend_*` retries); late acknowledgement hangs on it.
   * At most `appendedMax` records wait; past that, the oldest retries are given up with an error to their `done`.
   */
  store(record: ResultRecord, done: ((error: Error | null) => void) | null): void;
  /** True when so much waits that no new task should be fetched. */
  readonly isCongested: boolean;
  /** Resolves when everything appended so far is stored or given up. */
  flush(): Promise<void>;

  /** The stored document, decoded; null where there is none (PENDING). */
  fetch(taskId: string): Promise<ResultMeta | null>;
  /** As `fetch`, in the order of `ids`. */
  fetchMany(ids: readonly string[]): Promise<(ResultMeta | null)[]>;
  /**
   * Calls `onMeta` with each stored change of these ids from now on, and at once with what is stored already. One
   * multiplexed subscription per backend. `onError` hears of a store that is lost for good.
   */
  watch(
    ids: readonly string[],
    onMeta: (meta: ResultMeta) => void,
    onError: (error: Error) => void,
  ): Watch;
  forget(taskId: string): Promise<void>;

  /** Saves, reads and deletes a group's result tuple (JSON text). */
  saveGroup(groupId: string, tuple: string): Promise<void>;
  fetchGroup(groupId: string): Promise<string | null>;
  deleteGroup(groupId: string): Promise<void>;

  /** Says how many leaf completions a chord's header has; before its last task is published. */
  startChord(groupId: string, size: number): Promise<void>;
  /** `add_to_chord`: one more is expected. */
  growChord(groupId: string, by: number): Promise<void>;
  /**
   * Counts finished members in their order, together. Resolves with the headers that they made complete, nearly always
   * none. Exactly one caller is told of a header; a member counted twice counts once.
   */
  countChordParts(parts: readonly ChordPart[]): Promise<readonly CompleteHeader[]>;
  /** Deletes the counters of a chord whose body was published. */
  endChord(groupId: string): Promise<void>;

  /** Deletes what has expired, where the store does not by itself. */
  cleanup(): Promise<void>;
  /** The queue that rpc results of this client come to; null elsewhere. */
  readonly replyTo: string | null;
  /** Of rpc: resolves when the results of what is sent from now on will be heard; absent elsewhere. */
  listen?(): Promise<void>;
  /** Of rpc: whether `listen` would resolve at once. */
  readonly isListening?: boolean;
  close(): Promise<void>;
}

/** What every store is told; from `result_*` and `redis_*` settings. */
export interface BackendOptions {
  /** Seconds; null: for ever. */
  readonly expiresSeconds: number | null;
  /** Content types that may be decoded. */
  readonly accept: ReadonlySet<string>;
  /** Celery's name of `result_serializer`; documents are decoded by it. */
  readonly serializer: string;
  /** Celery's `result_backend_transport_options`, as given. */
  readonly transportOptions: Readonly<Record<string, unknown>>;
  readonly alwaysRetry: boolean;
  /** Infinity: for ever. */
  readonly maxRetries: number;
  readonly baseSleepMs: number;
  readonly maxSleepMs: number;
  /** The settings whose names begin with `redis_`, as given. */
  readonly redis: Readonly<Record<string, unknown>>;
  /** Of `rpc://`: the way to the broker. */
  readonly rpc?: RpcOptions;
}
