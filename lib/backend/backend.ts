/**
 * Result stores: the interface that memory, sqlite, redis, rpc and disabled implement.
 *
 * `store` is the data lane: it appends, and the store writes batches at the end of the turn. Everything else
 * is ordinary async code. The document is encoded by whoever ran the task (wire/message/result_meta.ts); a
 * store keeps text.
 */

import { READY_STATES, type ResultMeta, type TaskState } from "../wire/mod.ts";
import type { RpcOptions } from "./rpc_connection.ts";

/** A result to store. */
export interface ResultRecord {
  readonly taskId: string;
  readonly state: TaskState;
  /** The result document of Celery, encoded by `result_serializer`: JSON text, or bytes of a binary serializer. */
  readonly document: string | Uint8Array;
  /**
   * True if a better state may be stored already (redelivered messages, retries): the store then reads that
   * state first, and `mustStay` decides. False skips the read.
   */
  readonly guard: boolean;
  /** For rpc: the queue on which the task's sender receives results. */
  readonly replyTo: string | null;
}

/**
 * Whether a guarded write must not overwrite the stored state: SUCCESS is never overwritten, as in Celery, and no final
 * state is overwritten by a late RETRY.
 */
export function mustStay(stored: TaskState, comes: TaskState): boolean {
  return stored === "SUCCESS" || comes === "RETRY" && READY_STATES.has(stored);
}

/** A finished header task of a chord. */
export interface ChordPart {
  readonly groupId: string;
  readonly groupIndex: number | null;
  readonly taskId: string;
  readonly state: TaskState;
  /** JSON of the value, or of the exception object. */
  readonly result: string;
  /** Its span as a W3C header, if one is recorded. */
  readonly traceparent?: string | undefined;
}

/** A complete chord header. */
export interface CompleteHeader {
  /** The counted part that completed it. */
  readonly part: ChordPart;
  /**
   * Resolves with its members in order; null if another process has ended the chord meanwhile. Rejects with
   * HeaderJoinTimeout if the header holds groups and one of their results does not arrive in time.
   */
  members(): Promise<ChordMember[] | null>;
}

/** A member of a complete chord header, in order of its index. */
export interface ChordMember {
  readonly taskId: string;
  readonly state: TaskState;
  /** The value, carried (wire/json/carried.ts), or WireException. */
  readonly result: unknown;
  /** Errbacks that were called when it failed, if it is the body of a chord. */
  readonly sentErrbacks: readonly unknown[];
  /** W3C headers of its span, and of those of a group's tasks, as far as they were recorded here. */
  readonly traceparents: readonly string[];
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
  /** True: the store counts chord headers. False: `celery.chord_unlock` polls. */
  readonly countsChords: boolean;
  /**
   * True: the store deletes results after `result_expires`. False: `celery.backend_cleanup` calls `cleanup`.
   */
  readonly expiresByItself: boolean;

  /**
   * Appends a result. `done` is called once: with null when the result is stored for good, or with the error
   * when it never will be (after the retries of `result_backend_*`); a late acknowledgement waits for it.
   * Never throws. At most `appendedMax` records wait; beyond that the oldest are given up, with an error to
   * their `done`.
   */
  store(record: ResultRecord, done: ((error: Error | null) => void) | null): void;
  /** True if so many records wait that no new task should be fetched. */
  readonly isCongested: boolean;
  /** Resolves when everything appended so far is stored or given up. Never rejects. */
  flush(): Promise<void>;

  /**
   * Reads and decodes the stored document; null if there is none (PENDING). Rejects with an operating error
   * if the store cannot be reached after its retries or the document cannot be decoded; so do the calls below
   * that name no error.
   */
  fetch(taskId: string): Promise<ResultMeta | null>;
  /**
   * As `fetch`, in the order of `ids`. `isCarried`: values are passed on as they were encoded
   * (wire/json/carried.ts).
   */
  fetchMany(ids: readonly string[], isCarried?: boolean): Promise<(ResultMeta | null)[]>;
  /**
   * Calls `onMeta` with each change stored for these ids from now on, and first with the state that is stored already.
   * All watches of a backend share one subscription. `onError` is called when the store is lost for good.
   */
  watch(
    ids: readonly string[],
    onMeta: (meta: ResultMeta) => void,
    onError: (error: Error) => void,
  ): Watch;
  /** Deletes a result. */
  forget(taskId: string): Promise<void>;

  /** Saves, reads and deletes a group's result tuple (JSON text). */
  saveGroup(groupId: string, tuple: string): Promise<void>;
  fetchGroup(groupId: string): Promise<string | null>;
  deleteGroup(groupId: string): Promise<void>;

  /** Stores how many completions a chord's header needs; called before its last task is published. */
  startChord(groupId: string, size: number): Promise<void>;
  /** Raises the number of completions that a chord's header needs (`add_to_chord`). */
  growChord(groupId: string, by: number): Promise<void>;
  /**
   * Counts finished members in their order, together. Resolves with the headers that they completed, nearly
   * always none. Exactly one caller receives a header; a member counted twice counts once.
   */
  countChordParts(parts: readonly ChordPart[]): Promise<readonly CompleteHeader[]>;
  /**
   * Deletes the counters of a chord whose body was published. For some minutes its header cannot be completed
   * again.
   */
  endChord(groupId: string): Promise<void>;

  /** Deletes expired results, unless the store does so itself. */
  cleanup(): Promise<void>;
  /** The queue for this client's rpc results; null for other stores. */
  readonly replyTo: string | null;
  /** Only rpc: resolves when the results of tasks sent from now on will be received. */
  listen?(): Promise<void>;
  /** Only rpc: whether `listen` would resolve at once. */
  readonly isListening?: boolean;
  /** Stores the waiting records, for a few seconds at most, and closes. Idempotent; never rejects. */
  close(): Promise<void>;
}

/** The options of every store, from the `result_*` and `redis_*` settings. */
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
  /** Only `rpc://`: how to reach the broker. */
  readonly rpc?: RpcOptions;
}

/** Stores one record; resolves when it is stored for good, and rejects when it never will be. */
export function stored(backend: Backend, record: ResultRecord): Promise<void> {
  return new Promise((resolve, reject) =>
    backend.store(record, (error) => error === null ? resolve() : reject(error))
  );
}
