/** No result store: results are discarded on purpose, and reading one is an error that says so. */

import { OperatingError } from "../base/mod.ts";
import type { ResultMeta } from "../wire/mod.ts";
import type { Backend, ChordPart, CompleteHeader, ResultRecord, Watch } from "./backend.ts";

/** The error of reading a result. Source: celery 5.2.6 backends/base.py DisabledBackend, E_NO_BACKEND. */
const NO_BACKEND = "No result backend is configured. Set result_backend to keep results";
const NO_CHORDS = "Starting chords requires a result backend to be configured. Set result_backend";

/** The store of `result_backend = None` and `disabled://`. */
export class DisabledBackend implements Backend {
  readonly kind = "disabled" as const;
  readonly url = "disabled://";
  readonly countsChords = false;
  readonly expiresByItself = true;
  readonly isCongested = false;
  readonly replyTo = null;

  /** Discards the result. `done` gets no error, since no storing was promised. */
  store(_record: ResultRecord, done: ((error: Error | null) => void) | null): void {
    done?.(null);
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  fetch(_taskId: string): Promise<ResultMeta | null> {
    return refused(NO_BACKEND);
  }

  fetchMany(_ids: readonly string[]): Promise<(ResultMeta | null)[]> {
    return refused(NO_BACKEND);
  }

  watch(
    _ids: readonly string[],
    _onMeta: (meta: ResultMeta) => void,
    onError: (error: Error) => void,
  ): Watch {
    let isOpen = true;
    const close = (): void => void (isOpen = false);
    queueMicrotask(() => isOpen && onError(new OperatingError(NO_BACKEND)));
    return { add: () => {}, drop: () => {}, close };
  }

  forget(_taskId: string): Promise<void> {
    return Promise.resolve();
  }

  saveGroup(_groupId: string, _tuple: string): Promise<void> {
    return refused(NO_BACKEND);
  }

  fetchGroup(_groupId: string): Promise<string | null> {
    return refused(NO_BACKEND);
  }

  deleteGroup(_groupId: string): Promise<void> {
    return refused(NO_BACKEND);
  }

  /** Rejects: a chord's body would never run. */
  startChord(_groupId: string, _size: number): Promise<void> {
    return refused(NO_CHORDS);
  }

  growChord(_groupId: string, _by: number): Promise<void> {
    return refused(NO_CHORDS);
  }

  /** Counts nothing: a chord whose producer has a store cannot be completed here. */
  countChordParts(_parts: readonly ChordPart[]): Promise<readonly CompleteHeader[]> {
    return Promise.resolve([]);
  }

  endChord(_groupId: string): Promise<void> {
    return Promise.resolve();
  }

  cleanup(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

function refused(reason: string): Promise<never> {
  return Promise.reject(new OperatingError(reason));
}
