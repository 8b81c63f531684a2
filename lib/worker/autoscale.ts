/**
 * Autoscaling: as many slots as there are tasks on hand, between a minimum and a maximum.
 *
 * It grows as soon as tasks wait. It shrinks only idle slots, and only after it has not grown for
 * `AUTOSCALE_KEEPALIVE` seconds (30). The prefetch window is that of the maximum, so that waiting tasks can
 * be seen.
 *
 * Source: celery 5.2.6 worker/autoscale.py.
 */

import { type Deadline, errorText, UsageError } from "../base/mod.ts";
import { StartStopStep } from "../blueprint/mod.ts";
import type { RemoteAutoscaler, WorkerCore } from "./core.ts";

const KEEPALIVE_SECONDS = 30;
/** Milliseconds between two checks if no message comes. */
const LOOK_MS = 1000;

/** The pool, as the autoscaler sees it. */
export interface ScaledPool {
  /** Number of slots. */
  readonly size: number;
  /** Number of slots that have a task. */
  readonly busy: number;
  /** Tasks on hand: running, or received and due. */
  readonly load: number;
  grow(by: number): void;
  /** Removes `by` slots at most, idle ones only. */
  shrink(by: number): void;
  /** Called when the maximum has changed. */
  onMax(max: number): void;
  info(text: string): void;
  debug(text: string): void;
  nowMs(): number;
}

/** Decides when to grow and shrink. */
export class Autoscaler implements RemoteAutoscaler {
  max: number;
  min: number;
  #scaled: ScaledPool;
  #keepaliveMs: number;
  #grownMs = -Infinity;

  constructor(scaled: ScaledPool, range: { max: number; min: number; keepaliveSeconds: number }) {
    this.#scaled = scaled;
    this.max = range.max;
    this.min = range.min;
    this.#keepaliveMs = range.keepaliveSeconds * 1000;
  }

  /** Grows or shrinks to fit the load. Called for each batch of messages, and every second. */
  look(): void {
    const { size, load } = this.#scaled;
    const most = Math.min(load, this.max);
    if (most > size) {
      this.#grownMs = this.#scaled.nowMs();
      return this.#grow(most - size);
    }
    // Slots that were added lately may be needed again soon.
    const least = Math.max(load, this.min, 1);
    if (least < size && this.#scaled.nowMs() - this.#grownMs > this.#keepaliveMs) this.#shrink(size - least);
  }

  /**
   * Changes the range and returns it. Slots outside it are added or removed at once; null leaves a limit
   * unchanged.
   */
  update(max: number | null, min: number | null): { max: number; min: number } {
    const { size } = this.#scaled;
    if (max !== null) {
      if (max < size) this.#shrink(size - Math.max(1, max));
      this.max = max;
      this.#scaled.onMax(max);
    }
    if (min !== null) {
      if (min > size) this.#grow(min - size);
      this.min = min;
    }
    return { max: this.max, min: this.min };
  }

  /** Returns what `inspect stats` shows. */
  info(): Record<string, number> {
    const { size, load } = this.#scaled;
    return { max: this.max, min: this.min, current: size, qty: load };
  }

  #grow(by: number): void {
    this.#scaled.info(`Scaling up ${by} processes.`);
    this.#scaled.grow(by);
  }

  #shrink(by: number): void {
    const idle = Math.min(by, this.#scaled.size - this.#scaled.busy);
    if (idle <= 0) return this.#scaled.debug("Autoscaler won't scale down: all processes busy.");
    this.#scaled.info(`Scaling down ${idle} processes.`);
    this.#scaled.shrink(idle);
  }
}

/** The step. */
export class AutoscalerStep extends StartStopStep<WorkerCore> {
  readonly name = "Autoscaler";
  override readonly requires = ["Pool"];
  override readonly conditional = true;
  #autoscaler: Autoscaler | null = null;
  #look: Deadline | null = null;

  /** Solo has one slot, whatever the range. */
  override isIncluded(worker: WorkerCore): boolean {
    return worker.options.autoscale !== null && worker.options.pool !== "solo";
  }

  override start(worker: WorkerCore): void {
    const [max, min] = worker.options.autoscale!;
    const autoscaler = new Autoscaler(scaledPool(worker), { max, min, keepaliveSeconds: keepalive(worker) });
    this.#autoscaler = autoscaler;
    worker.remote.autoscaler = autoscaler;
    worker.lane.onReserved = () => autoscaler.look();
    const again = () => {
      this.#look = worker.timers.armIn(LOOK_MS, () => {
        autoscaler.look();
        again();
      });
    };
    again();
  }

  override close(worker: WorkerCore): void {
    // Running tasks finish with the slots there are.
    if (worker.hasLane) worker.lane.onReserved = null;
    worker.timers.disarm(this.#look);
    this.#look = null;
  }

  override stop(worker: WorkerCore): void {
    this.close(worker);
  }

  override info(): Record<string, unknown> {
    return this.#autoscaler === null ? {} : { autoscaler: this.#autoscaler.info() };
  }
}

function keepalive(worker: WorkerCore): number {
  const given = worker.world.host.env("AUTOSCALE_KEEPALIVE");
  const seconds = given ? Number(given) : KEEPALIVE_SECONDS;
  if (seconds > 0) return seconds;
  throw new UsageError(`AUTOSCALE_KEEPALIVE must be a number of seconds, not "${given}"`);
}

function scaledPool(worker: WorkerCore): ScaledPool {
  const { world, pool, lane, state, window } = worker;
  const failed = (error: unknown) => world.log.error(`Autoscaler: ${errorText(error)}`);
  const changed = () => {
    lane.sendPrefetch();
    state.consumer?.wake();
  };
  return {
    get size() {
      return pool.size;
    },
    get busy() {
      return Math.min(pool.size, pool.busy);
    },
    get load() {
      return state.inPool.size + lane.readyCount + lane.pending.limitedCount;
    },
    grow: (by) => void pool.grow(by).then(changed, failed),
    shrink: (by) => void pool.shrink(by).then(changed, failed),
    onMax(max) {
      window.resize(max);
      changed();
    },
    info: (text) => world.log.info(text),
    debug: (text) => world.log.debug(text),
    nowMs: () => world.clock.monoMs(),
  };
}
