/**
 * Gossip: follows the events of other workers (joined, left, missed) and takes part in elections among them.
 *
 * Source: celery 5.2.6 worker/consumer/gossip.py; protocol.md 7.2, 7.3.
 */

import { type Deadline, errorText, logFrom, shownLine } from "../../base/mod.ts";
import { StartStopStep } from "../../blueprint/mod.ts";
import { ClusterState, type Decision, type EventReader, GossipElections } from "../../event/mod.ts";
import type { Note, Subscription } from "../../transport/mod.ts";
import { type EventMessage, strictRepr, type WireSignature } from "../../wire/mod.ts";
import type { Consumer } from "./consumer.ts";

/** The logger that Celery uses for these lines. */
const FROM = { logger: "celery.worker.consumer.gossip" };

/** How often late workers are looked for. */
const LOOK_MS = 5000;
/** Maximum number of characters of an election's id. */
const ID_MAX = 512;

/** The step. */
export class GossipStep extends StartStopStep<Consumer> {
  readonly name = "Gossip";
  override readonly requires = ["Mingle"];
  override readonly conditional = true;
  #state: ClusterState | null = null;
  #elections: GossipElections | null = null;
  #reader: EventReader | null = null;
  #subscribing: Promise<Subscription | null> | null = null;
  #look: Deadline | null = null;

  override isIncluded(consumer: Consumer): boolean {
    return consumer.worker.options.withGossip;
  }

  override create(consumer: Consumer): void {
    const { worker } = consumer;
    const log = logFrom(worker.world.log, FROM);
    this.#reader = worker.support.eventReader();
    const state = this.#state = new ClusterState({
      world: worker.world,
      maxTasksInMemory: 1,
      onNodeJoin: (one) => log.debug(`${shownLine(one.hostname, 200)} joined the party`),
      onNodeLeave: (one) => log.debug(`${shownLine(one.hostname, 200)} left`),
    });
    this.#elections = new GossipElections({
      others: () => state.aliveWorkers().map((one) => one.hostname),
      arm: (ms, fn) => void worker.timers.armIn(ms, fn),
      acknowledge: (id) => consumer.events?.send("worker-elect-ack", { id }),
      decided: (decision) => this.#decided(consumer, decision),
    });
    worker.remote.gossip = {
      election: (id, topic, action) => {
        this.#elections!.join(
          id,
          () => consumer.events?.send("worker-elect", { id, topic, action, cver: 1 }),
        );
      },
    };
  }

  // Subscribes without being waited for: a worker is ready before it hears its neighbours.
  override start(consumer: Consumer): void {
    const { connection, worker } = consumer;
    if (connection === null) return;
    const ttl = worker.options.given.heartbeatInterval;
    const queue = worker.support.eventQueue(connection.transport, {
      routingKey: "worker.#",
      ...(ttl === undefined ? {} : { ttlSeconds: ttl }),
    });
    this.#subscribing = connection.subscribe(queue, (note) => this.#onNote(consumer, note))
      .catch((error: unknown) => {
        // A lost connection is handled by the consumer, which starts again, and gossip with it.
        if (!consumer.isLost) {
          logFrom(worker.world.log, FROM).error(
            `Cannot receive events of other workers: ${errorText(error)}`,
          );
        }
        return null;
      });
    this.#armLook(consumer);
  }

  override async stop(consumer: Consumer): Promise<void> {
    consumer.worker.timers.disarm(this.#look);
    this.#look = null;
    const subscribing = this.#subscribing;
    this.#subscribing = null;
    if (consumer.isLost) return;
    await (await subscribing)?.close();
  }

  /** Does the same as `stop`, if the consumer was not stopped before. */
  override shutdown(consumer: Consumer): Promise<void> {
    return this.stop(consumer);
  }

  #onNote(consumer: Consumer, note: Note): void {
    for (const event of this.#reader!.decode(note)) {
      if (!event.type.startsWith("worker-")) continue;
      if (event.type === "worker-elect") this.#onElect(consumer, event);
      else if (event.type === "worker-elect-ack") this.#onAck(event);
      else if (event.hostname === consumer.worker.hostname) consumer.worker.app.clock.forward();
      else this.#state!.event(this.#reader!.receive(event));
    }
    consumer.neighbours = this.#state!.workers.size;
  }

  #onElect(consumer: Consumer, event: EventMessage): void {
    const { id, topic, action } = event.fields;
    if (typeof id !== "string" || id.length > ID_MAX || typeof topic !== "string") {
      logFrom(consumer.worker.world.log, FROM).error(
        `Election request of ${shownLine(event.hostname, 200)} without id or topic`,
      );
      return;
    }
    this.#elections!.stand(id, {
      clock: event.clock,
      id: `${event.hostname}.${event.pid}`,
      hostname: event.hostname,
      topic,
      action,
    });
  }

  #onAck(event: EventMessage): void {
    const { id } = event.fields;
    if (typeof id === "string") this.#elections!.acknowledge(id);
  }

  #decided(consumer: Consumer, { election, winner }: Decision): void {
    const { hostname, support, world } = consumer.worker;
    const id = shownLine(strictRepr(election), 200);
    if (winner.id !== `${hostname}.${world.host.pid}`) {
      logFrom(world.log, FROM).info(`node ${shownLine(winner.id, 200)} elected for ${id}`);
      return;
    }
    logFrom(world.log, FROM).info(`I won the election ${id}`);
    if (winner.topic !== "task") {
      logFrom(world.log, FROM).error(`Unknown election topic ${shownLine(strictRepr(winner.topic), 200)}`);
      return;
    }
    const failed = (error: unknown): void =>
      logFrom(world.log, FROM).error(`Could not call task: ${errorText(error)}`);
    try {
      support.sendSignature(winner.action as WireSignature).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #armLook(consumer: Consumer): void {
    const { timers, world } = consumer.worker;
    const plannedMs = world.clock.monoMs() + LOOK_MS;
    this.#look = timers.arm(plannedMs, () => {
      // After a stall of this process all others look late, although their events are only unread.
      const isStalled = world.clock.monoMs() - plannedMs > LOOK_MS / 2;
      if (!isStalled) this.#missLate(consumer);
      this.#armLook(consumer);
    });
  }

  #missLate(consumer: Consumer): void {
    const workers = this.#state!.workers;
    for (const [name, one] of workers) {
      if (one.alive) continue;
      workers.delete(name);
      logFrom(consumer.worker.world.log, FROM).info(`missed heartbeat from ${shownLine(name, 200)}`);
    }
    consumer.neighbours = workers.size;
  }
}
