/**
 * Events of this worker and its tasks.
 *
 * The dispatcher is made once and outlives connections: events that a lost connection did not send leave over
 * the next.
 *
 * Source: celery 5.2.6 worker/consumer/events.py, worker/heartbeat.py.
 */

import { VERSION } from "../../base/mod.ts";
import { StartStopStep } from "../../blueprint/mod.ts";
import type { EventDispatcher } from "../../event/mod.ts";
import type { WorkerCore } from "../core.ts";
import type { TaskEventSink } from "../lane/listeners.ts";
import type { Request } from "../lane/request.ts";
import type { Consumer } from "./consumer.ts";

/** Milliseconds for sending the last events, in a warm and in a cold shutdown. */
const CLOSE_MS = 1000;
const CLOSE_COLD_MS = 200;
/** The `freq` of a heartbeat sent on request, in seconds. */
const ASKED_FREQ = 5;

/** The step. */
export class EventsStep extends StartStopStep<Consumer> {
  readonly name = "Events";
  override readonly requires = ["Connection"];

  override create(consumer: Consumer): void {
    const { worker } = consumer;
    const { taskEvents, withGossip, withHeartbeat } = worker.options;
    const dispatcher = worker.support.dispatcher({
      hostname: worker.hostname,
      enabled: taskEvents || withGossip || withHeartbeat,
      groups: taskEvents ? [] : ["worker"],
    });
    consumer.events = dispatcher;
    worker.events = new TaskEvents(dispatcher);
    worker.remote.events = {
      enableTasks: () => dispatcher.enableGroup("task"),
      disableTasks: () => dispatcher.disableGroup("task"),
      heartbeat: () => {
        const { sw_ident, sw_ver, sw_sys } = software(worker);
        dispatcher.send("worker-heartbeat", { freq: ASKED_FREQ, sw_ident, sw_ver, sw_sys });
      },
    };
  }

  override start(consumer: Consumer): void {
    consumer.events?.retry();
  }

  /** Sends the last events and closes the dispatcher, after the pool has ended. */
  override async shutdown(consumer: Consumer): Promise<void> {
    const { worker } = consumer;
    worker.remote.events = null;
    await consumer.events?.close(worker.stopRequest.cold.aborted ? CLOSE_COLD_MS : CLOSE_MS);
  }
}

/** Returns name, version and system as workers announce them. */
export function software(worker: WorkerCore): { sw_ident: string; sw_ver: string; sw_sys: string } {
  const [system] = worker.world.host.platform.split("-");
  return { sw_ident: "lovage", sw_ver: VERSION, sw_sys: system ?? "" };
}

/** Passes the lane's events to the dispatcher. */
class TaskEvents implements TaskEventSink {
  readonly #dispatcher: EventDispatcher;

  constructor(dispatcher: EventDispatcher) {
    this.#dispatcher = dispatcher;
  }

  get isEnabled(): boolean {
    return this.#dispatcher.sendsTasks;
  }

  wants(request: Request): boolean {
    return this.#dispatcher.sendsTasks && request.strategy.sendEvents;
  }

  task(type: string, request: Request, fields: Record<string, unknown>): void {
    this.#dispatcher.task(type, request.id, fields);
  }

  custom(type: string, request: Request, fields: Record<string, unknown>): void {
    this.#dispatcher.custom(type, request.id, fields);
  }

  message(type: string, fields: Record<string, unknown>): void {
    this.#dispatcher.send(type, fields);
  }
}
