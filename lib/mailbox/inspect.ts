/**
 * Inspect commands, each one request to workers.
 *
 * Source: celery 5.2.6 app/control.py Inspect.
 */

import { namesOf, refuseUnknown } from "../base/mod.ts";
import type { Inspect, RemoteAnswer, Replies, RequestInfo } from "../app/mod.ts";

const ACTIVE_NAMES = namesOf<{ safe?: boolean }>({ safe: true });
const CONF_NAMES = namesOf<{ withDefaults?: boolean }>({ withDefaults: true });

/** Asks nodes, with the options that `inspect` was called with. Rejects as `Mailbox.ask`. */
export type Asker = (command: string, args: Record<string, unknown>) => Promise<Replies>;

/** `app.control.inspect()`. Shapes of replies are Celery's (protocol.md 6.3). */
export class AppInspect implements Inspect {
  #ask: Asker;

  constructor(ask: Asker) {
    this.#ask = ask;
  }

  ask(command: string, args: Record<string, unknown> = {}): Promise<Replies> {
    return this.#ask(command, args);
  }

  ping(): Promise<Replies<RemoteAnswer>> {
    return this.#asked("ping");
  }

  active(options: { safe?: boolean } = {}): Promise<Replies<RequestInfo[]>> {
    refuseUnknown(options, ACTIVE_NAMES, "active");
    return this.#asked("active", options.safe === undefined ? {} : { safe: options.safe });
  }

  reserved(): Promise<Replies<RequestInfo[]>> {
    return this.#asked("reserved");
  }

  scheduled(): Promise<Replies<{ eta: string | null; priority: number; request: RequestInfo }[]>> {
    return this.#asked("scheduled");
  }

  revoked(): Promise<Replies<string[]>> {
    return this.#asked("revoked");
  }

  registered(...attributes: string[]): Promise<Replies<string[]>> {
    return this.#asked("registered", { taskinfoitems: attributes });
  }

  stats(): Promise<Replies<Record<string, unknown>>> {
    return this.#asked("stats");
  }

  activeQueues(): Promise<Replies<Record<string, unknown>[]>> {
    return this.#asked("active_queues");
  }

  conf(options: { withDefaults?: boolean } = {}): Promise<Replies<Record<string, unknown>>> {
    refuseUnknown(options, CONF_NAMES, "conf");
    return this.#asked("conf", { with_defaults: options.withDefaults ?? false });
  }

  report(): Promise<Replies<RemoteAnswer>> {
    return this.#asked("report");
  }

  clock(): Promise<Replies<{ clock: number }>> {
    return this.#asked("clock");
  }

  queryTask(...ids: string[]): Promise<Replies<Record<string, [string, RequestInfo]>>> {
    return this.#asked("query_task", { ids });
  }

  hello(fromNode: string, revoked: Record<string, unknown> = {}): Promise<Replies> {
    return this.#asked("hello", { from_node: fromNode, revoked });
  }

  memsample(): Promise<Replies<string | null>> {
    return this.#asked("memsample");
  }

  memdump(samples = 10): Promise<Replies<string>> {
    return this.#asked("memdump", { samples });
  }

  #asked<T>(command: string, args: Record<string, unknown> = {}): Promise<Replies<T>> {
    return this.#ask(command, args) as Promise<Replies<T>>;
  }
}
