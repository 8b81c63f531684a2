/**
 * Slots by load: as many as there are tasks on hand, between a least and a most number.
 *
 * It grows as soon as tasks wait, and shrinks only when nothing has been added for a while (`AUTOSCALE_KEEPALIVE`
 * seconds, 30), idle slots only. The prefetch window is that of the most slots, so that there is a backlog to see.
 *
 * Source: celery 5.2.6 worker/autoscale.py.
 */

import { type Deadline, errorText, UsageError } from "../base/mod.ts";
import { StartStopStep } from "../blueprint/mod.ts";
import type { RemoteAutoscaler, WorkerCore } from "./core.ts";

const KEEPALIVE_SECONDS = 30;
/** Milliseconds between two looks where no message comes. */
const LOOK_MS = 1000;

/** What is scaled. */
export interface Scaled {
  /** Slots now. */
  readonly size: number;
  /** Of these the ones that have a task. */
  readonly busy: number;
  /** Tasks on hand: running, or received and due. */
  readonly load: number;
  grow(by: number): void;
  /** `by` idle slots at most. */
  shrink(by: number): void;
  /** The most slots have changed. */
  onMax(max: number): void;
  info(text: string): void;
  debug(text: string): void;
  nowMs(): number;
}

/** The rule. */
export class Autoscaler implements RemoteAutoscaler {
  max: number;
  min: number;
  #scaled: Scaled;
  #keepaliveMs: number;
  #grownMs = -Infinity;

  constructor(scaled: Scaled, range: { max: number; min: number; keepaliveSeconds: number }) {
    this.#scaled = scaled;
    this.max = range.max;
    this.min = range.min;
    this.#keepaliveMs = range.keepaliveSeconds * 1000;
  }

  /** Grows or shrinks if the load asks for it. Per batch of messages, and every second. */
  look(): void {
    const { size, load } = this.#scaled;
    const most = Math.min(load, this.max);
    if (most > size) {
      this.#grownMs = this.#scaled.nowMs();
      return this.#grow(most - size);
    }
    // As long as slots were added lately they may be wanted again.
    const least = Math.max(load, this.min, 1);
    if (least < size && this.#scaled.nowMs() - this.#grownMs > this.#keepaliveMs) this.#shrink(size - least);
  }

  /** Changes the range; what lies outside it is added or taken at once. */
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

  /** For `inspect stats`. */
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

  /** Solo has one slot, whatever is asked for. */
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
    // What runs is let finish with the slots there are.
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

function scaledPool(worker: WorkerCore): Scaled {
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
