/**
 * `app.events`: events as user code sends and receives them.
 *
 * Source: celery 5.2.6 app/events.py Events.
 */

import { anonNodename } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { type DispatcherOptions, EventDispatcher } from "./dispatcher.ts";
import { EventReceiver, type ReceiverOptions } from "./receiver.ts";
import { ClusterState, type StateOptions } from "./state.ts";

declare module "../app/app.ts" {
  interface EventsApi extends AppEvents {}
}

/**
 * Events of one App's broker.
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * const app = new App("shop");
 * await using receiver = await app.events.receiver();
 * for await (const event of receiver.capture({ limit: 10 })) console.log(event.type, event.hostname);
 * ```
 */
export class AppEvents {
  readonly #app: App;
  /** `new app.events.State()`: workers and tasks as their events describe them. */
  readonly State: new (options?: StateOptions) => ClusterState;

  constructor(app: App) {
    this.#app = app;
    this.State = class extends ClusterState {
      constructor(options: StateOptions = {}) {
        super({ world: app.world, ...options });
      }
    };
  }

  /**
   * Does the same as `new app.events.State()`.
   *
   * @throws {UsageError} for an unknown option.
   */
  state(options: StateOptions = {}): ClusterState {
    return new this.State(options);
  }

  /**
   * Connects and listens to the cluster. Close the receiver when done (`await using`). Rejects as
   * `EventReceiver.open`.
   */
  receiver(options: ReceiverOptions = {}): Promise<EventReceiver> {
    return EventReceiver.open(this.#app, options);
  }

  /** Makes a sender of events. Close it when done. Default sender name: `gen<pid>@<host>`. */
  dispatcher(options: Partial<DispatcherOptions> = {}): EventDispatcher {
    const { host } = this.#app.world;
    return new EventDispatcher(this.#app, { hostname: anonNodename(host.pid, host.hostname), ...options });
  }
}
