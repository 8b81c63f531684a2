/**
 * `app.events`: what a user's code has of events.
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

/** Events of one App's broker. */
export class AppEvents {
  readonly #app: App;
  /** `new app.events.State()`: workers and tasks as their events tell of them. */
  readonly State: new (options?: StateOptions) => ClusterState;

  constructor(app: App) {
    this.#app = app;
    this.State = class extends ClusterState {
      constructor(options: StateOptions = {}) {
        super({ world: app.world, ...options });
      }
    };
  }

  /** As `new app.events.State()`. */
  state(options: StateOptions = {}): ClusterState {
    return new this.State(options);
  }

  /** Listens to the cluster; resolves when it does. Close the receiver when done (`await using`). */
  receiver(options: ReceiverOptions = {}): Promise<EventReceiver> {
    return EventReceiver.open(this.#app, options);
  }

  /** Sends events of one's own. Close it when done. Default sender: `gen<pid>@<host>`. */
  dispatcher(options: Partial<DispatcherOptions> = {}): EventDispatcher {
    const { host } = this.#app.world;
    return new EventDispatcher(this.#app, { hostname: anonNodename(host.pid, host.hostname), ...options });
  }
}
