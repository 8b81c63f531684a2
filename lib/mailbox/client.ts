/**
 * A cluster to ask: a connection to its broker and a mailbox on it. With an App's settings, or without an App at all,
 * by a URL alone, which is what makes `lovage status` start fast.
 */

import { maskUrl, UsageError, type World } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { type Answer, type Ask, Mailbox, type MailboxClock } from "./mailbox.ts";
import { loadMailboxSerializers, mailboxSettings, requestExchange } from "./places.ts";
import { connect, type Connection, type Exchange } from "../transport/mod.ts";

/** Celery's `broker_connection_timeout`. */
const CONNECT_TIMEOUT_MS = 4000;

/** Variables of the environment that name the broker, strongest first. */
const BROKER_VARIABLES = ["CELERY_BROKER_WRITE_URL", "CELERY_BROKER_URL"];

/** An open way to a cluster's nodes. */
export class ControlClient implements AsyncDisposable {
  readonly connection: Connection;
  readonly mailbox: Mailbox;

  private constructor(connection: Connection, mailbox: Mailbox) {
    this.connection = connection;
    this.mailbox = mailbox;
  }

  /**
   * By URL alone: one, or several joined by `;`, tried in turn; null: the environment's, else the embedded broker.
   * Settings are Celery's defaults. Rejects with the last broker's error, with UsageError for a URL that is not one.
   */
  static async openUrl(world: World, given: string | null): Promise<ControlClient> {
    const named = given ?? BROKER_VARIABLES.map((name) => world.host.env(name)).find(Boolean) ?? "sqlite://";
    const urls = named.split(";").map((url) => url.trim()).filter(Boolean);
    let failure: unknown = new UsageError(`Cannot read the broker's URL "${maskUrl(named)}"`);
    for (const url of urls) {
      try {
        const connection = await connect(world, url, {
          timeoutMs: CONNECT_TIMEOUT_MS,
          transportOptions: {},
          useSsl: false,
          heartbeatSeconds: 0,
          loginMethod: null,
          clientName: `lovage-${world.host.pid}@${world.host.hostname}`,
        });
        return new ControlClient(connection, new Mailbox(world, connection, { clock: new Ticks() }));
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** By an App's settings; each of its brokers is tried once. Rejects as `App.connectBroker`. */
  static async openApp(app: App): Promise<ControlClient> {
    await loadMailboxSerializers(app.conf);
    const connection = await app.connectBroker({ forWriting: true, retry: false });
    return new ControlClient(
      connection,
      new Mailbox(app.world, connection, {
        settings: mailboxSettings(app.conf),
        clock: app.clock,
      }),
    );
  }

  /** Where its requests go: whoever listens there is a node. */
  get exchange(): Exchange {
    return requestExchange(this.mailbox.settings);
  }

  /** Asks every node that the request is for. */
  ask(ask: Ask): Promise<Answer> {
    return this.mailbox.ask(ask);
  }

  /** Ends the mailbox and the connection. */
  async close(): Promise<void> {
    await this.mailbox.close();
    await this.connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The clock of an asker that has no App: it only ever asks. */
class Ticks implements MailboxClock {
  #value = 0;

  forward(): number {
    return ++this.#value;
  }

  adjust(other: number): number {
    this.#value = Math.max(this.#value, other) + 1;
    return this.#value;
  }
}
