/**
 * Passes the events of the transport's task consumer to the lane. There is one for each connection; events of
 * an older one are dropped, since the broker has its messages back.
 */

import type { ConsumerEvents, Delivery, Undecodable } from "../../transport/mod.ts";
import type { WorkerCore } from "../core.ts";

/** The events of one connection. */
export class Intake implements ConsumerEvents {
  #worker: WorkerCore;
  #epoch: number;
  #onLost: (error: Error) => void;

  /** Begins a new epoch of the lane. `onLost` is called when the connection is lost. */
  constructor(worker: WorkerCore, onLost: (error: Error) => void) {
    this.#worker = worker;
    this.#epoch = ++worker.state.epoch;
    this.#onLost = onLost;
  }

  /**
   * Returns how many more messages may be taken now; 0 until `consume` has resolved and the lane knows the
   * consumer.
   */
  window(): number {
    const { lane, state } = this.#worker;
    return this.#isCurrent && state.consumer !== null ? lane.window() : 0;
  }

  onDeliveries(batch: Delivery[]): void {
    if (this.#isCurrent) this.#worker.lane.onDeliveries(batch);
  }

  onUndecodable(message: Undecodable): void {
    if (this.#isCurrent) this.#worker.lane.onUndecodable(message);
  }

  onStranded(delivery: Delivery): void {
    this.#worker.parts.finalizer.republish(delivery);
  }

  onLost(error: Error): void {
    if (this.#isCurrent) this.#onLost(error);
  }

  onRestored(count: number): void {
    this.#worker.world.log.info(
      `Restored ${count} message${count === 1 ? "" : "s"} of workers that are gone`,
    );
  }

  get #isCurrent(): boolean {
    return this.#worker.state.epoch === this.#epoch;
  }
}
