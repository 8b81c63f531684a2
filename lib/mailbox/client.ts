/**
 * A client of remote control: a connection to a cluster's broker and a mailbox on it. It uses an App's
 * settings, or only a URL; the latter makes `lovage status` start fast.
 */

import { maskUrl, UsageError, type World } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { type Answer, type Ask, Mailbox, type MailboxClock } from "./mailbox.ts";
import { loadMailboxSerializers, mailboxSettings, requestExchange } from "./places.ts";
import { connect, type Connection, type Exchange } from "../transport/mod.ts";

/** Celery's `broker_connection_timeout`. */
const CONNECT_TIMEOUT_MS = 4000;

/** Environment variables that name the broker, in order of precedence. */
const BROKER_VARIABLES = ["CELERY_BROKER_WRITE_URL", "CELERY_BROKER_URL"];

/** A connection to a cluster's nodes. */
export class ControlClient implements AsyncDisposable {
  readonly connection: Connection;
  readonly mailbox: Mailbox;

  private constructor(connection: Connection, mailbox: Mailbox) {
    this.connection = connection;
    this.mailbox = mailbox;
  }

  /**
   * Opens a client by URL: one, or several joined by `;`, tried in turn; null: from the environment, else the
   * embedded broker. Settings are Celery's defaults. Rejects with the last broker's error, or with UsageError
   * for an invalid URL.
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

  /**
   * Opens a client with an App's settings; each of its brokers is tried once. Rejects as `App.connectBroker`.
   */
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

  /** The exchange of its requests; every listener there is a node. */
  get exchange(): Exchange {
    return requestExchange(this.mailbox.settings);
  }

  /** Asks every node that the request is for. Rejects as `Mailbox.ask`. */
  ask(ask: Ask): Promise<Answer> {
    return this.mailbox.ask(ask);
  }

  /** Closes the mailbox and the connection. */
  async close(): Promise<void> {
    await this.mailbox.close();
    await this.connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The clock of a client without an App. */
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
