/** Failed tasks on memory and sqlite. */

import type { World } from "../../base/mod.ts";
import { envelopePriority, unmarkReported } from "../../wire/mod.ts";
import { type FailedEntry, type FailedLimits, type FailedTasks, withId } from "../failed.ts";
import { priorityStep } from "../routing.ts";
import type { DeadLetter } from "../message.ts";
import { queueTopic, type Store } from "./store.ts";

/** The connection, as the failed tasks see it. */
export interface VirtualFailedHost {
  readonly world: World;
  readonly store: Store;
  readonly prioritySteps: readonly number[];
  write<T>(fn: () => T): Promise<T>;
}

/** The failed tasks as a connection sees them. */
export class VirtualFailedTasks implements FailedTasks {
  #host: VirtualFailedHost;

  constructor(host: VirtualFailedHost) {
    this.#host = host;
  }

  async keep(tasks: readonly FailedEntry[], limits: FailedLimits): Promise<void> {
    const { world, store, write } = this.#host;
    const rows = tasks.map((task) => withId(world, task));
    await write(() => store.failed.keep(rows, limits, world.clock.wallMs()));
  }

  async count(): Promise<number> {
    return await this.#host.write(() => this.#host.store.failed.count());
  }

  async list(limit: number): Promise<DeadLetter[]> {
    return await this.#host.write(() => this.#host.store.failed.list(limit));
  }

  async retry({ id }: DeadLetter, queueName: string, envelope: string): Promise<boolean> {
    const { store, prioritySteps, write } = this.#host;
    const step = priorityStep(envelopePriority(envelope), prioritySteps);
    const isSent = await write(() => {
      if (!store.failed.take(id)) return false;
      store.messages.insert(queueName, step, unmarkReported(envelope));
      return true;
    });
    if (isSent) store.wake(new Set([queueTopic(queueName)]));
    return isSent;
  }

  async drop({ id }: DeadLetter): Promise<boolean> {
    return await this.#host.write(() => this.#host.store.failed.take(id));
  }
}
