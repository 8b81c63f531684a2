/**
 * How a worker is asked to stop, and what each signal means.
 *
 *     TERM            warm: finish running tasks, give back the rest
 *     INT             warm, and a hint; INT again: as QUIT
 *     QUIT            soft, if `worker_soft_shutdown_timeout` gives running tasks some time; then cold
 *     QUIT while soft cold at once;  QUIT while cold: the process ends at once
 *     REMAP_SIGTERM=SIGQUIT makes TERM a QUIT
 *
 * A mode is never replaced by a softer one.
 *
 * Source: celery 5.6.3 apps/worker.py; protocol.md 10.8; scenarios.md "Shutdown".
 */

/** The modes of a stop, softest first. */
const STOP_MODES = ["warm", "soft", "cold", "hard"] as const;

/** A mode of a stop. */
export type StopMode = typeof STOP_MODES[number];

/** Ends whatever the worker is waiting for when it is asked to stop. Not an error. */
export class WorkerStopping extends Error {
  override name = "WorkerStopping";
}

/** The stop that was asked for. `any` aborts with the first mode, `cold` from cold on, `hard` with hard. */
export class StopRequest {
  #mode: StopMode | null = null;
  #any = new AbortController();
  #cold = new AbortController();
  #hard = new AbortController();

  /** The mode asked for; null: none. */
  get mode(): StopMode | null {
    return this.#mode;
  }

  /** Aborts when a stop of any kind is asked for; its reason is WorkerStopping. */
  get any(): AbortSignal {
    return this.#any.signal;
  }

  /** Aborts when running tasks are to be ended. */
  get cold(): AbortSignal {
    return this.#cold.signal;
  }

  /** Aborts when nothing is to be waited for any more. */
  get hard(): AbortSignal {
    return this.#hard.signal;
  }

  /**
   * Asks for a stop. Returns false if a mode as hard or harder was asked for before; nothing changes then.
   */
  ask(mode: StopMode): boolean {
    if (this.#mode !== null && STOP_MODES.indexOf(mode) <= STOP_MODES.indexOf(this.#mode)) return false;
    this.#mode = mode;
    const reason = new WorkerStopping(`the worker is stopping (${mode})`);
    this.#any.abort(reason);
    if (mode === "cold" || mode === "hard") this.#cold.abort(reason);
    if (mode === "hard") this.#hard.abort(reason);
    return true;
  }
}

/** Resolves when `signal` aborts; at once if it has. Never rejects. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
