/**
 * Reads queues from RabbitMQ's management API (`--broker-api`), which also counts unacknowledged messages.
 *
 * Source: flower utils/broker.py RabbitMQ.queues.
 */

import {
  type Clock,
  errorText,
  isRecord,
  LogThrottle,
  maskUrl,
  OperatingError,
  textOrNull,
  UsageError,
  type World,
} from "../../base/mod.ts";
import { DecodeError, fromJson } from "../../wire/mod.ts";

/** How long to wait for an answer. */
const ANSWER_MS = 2000;

/** A queue as the API returns it: `name`, `messages`, `messages_unacknowledged`, `consumers` and more. */
export type ManagedQueue = Readonly<Record<string, unknown>>;

/** The management API of one virtual host. */
export class Management {
  readonly #clock: Clock;
  readonly #url: URL;
  /** The path of the virtual host's queues. */
  readonly #queues: string;
  readonly #authorization: string;
  readonly #throttle: LogThrottle;

  /**
   * `api`: `http://user:password@host:15672/api/`; user and password default to the broker's. Throws
   * UsageError.
   */
  constructor(world: World, { api, broker }: { api: string; broker: string }) {
    this.#clock = world.clock;
    this.#throttle = new LogThrottle(world, { everyMs: 60_000 });
    const given = urlOf(api);
    const { username, password, pathname } = new URL(broker.replace(/^[a-z+]+:/, "http:"));
    const user = decodeURIComponent(given.username || username) || "guest";
    const secret = decodeURIComponent(given.password || password) || "guest";
    this.#authorization = `Basic ${new TextEncoder().encode(`${user}:${secret}`).toBase64()}`;
    given.username = given.password = "";
    const host = decodeURIComponent(pathname.slice(1)) || "/";
    this.#url = given;
    this.#queues = `queues/${encodeURIComponent(host)}`;
  }

  /**
   * Returns the host of the connection that holds an exclusive queue; null if none does or the API does not
   * answer. Lovage's connections have the host in their names.
   */
  async holderOf(queue: string): Promise<string | null> {
    const found = await this.#ask(`${this.#queues}/${encodeURIComponent(queue)}`, isRecord);
    const details = found?.["owner_pid_details"];
    if (!isRecord(details)) return null;
    const connection = await this.#ask(
      `connections/${encodeURIComponent(String(details["name"]))}`,
      isRecord,
    );
    const name = textOrNull(connection?.["user_provided_name"]);
    return /@(.+)$/.exec(name ?? "")?.[1] ?? textOrNull(details["peer_host"]);
  }

  /** Returns the queues by name; null if the API does not answer, which is logged. */
  async queues(): Promise<ReadonlyMap<string, ManagedQueue> | null> {
    const all = await this.#ask(this.#queues, Array.isArray);
    return all === null ? null : new Map(all.filter(isRecord).map((queue) => [String(queue["name"]), queue]));
  }

  /** Requests a path; null if there is nothing, or if the API does not answer, which is logged. */
  async #ask<T>(path: string, isExpected: (value: unknown) => value is T): Promise<T | null> {
    const late = new AbortController();
    const disarm = this.#clock.arm(
      this.#clock.monoMs() + ANSWER_MS,
      () => late.abort(new OperatingError(`no answer in ${ANSWER_MS / 1000} s`)),
    );
    try {
      const response = await fetch(new URL(path, this.#url), {
        headers: { authorization: this.#authorization },
        signal: late.signal,
      });
      const text = await response.text();
      if (response.status === 404 && path !== this.#queues) return null;
      if (!response.ok) throw new OperatingError(`it answered ${response.status}`);
      const found = fromJson(text);
      if (!isExpected(found)) throw new DecodeError("unexpected answer");
      return found;
    } catch (error) {
      this.#throttle.log("WARNING", `Cannot ask RabbitMQ's management API: ${errorText(error)}`);
      return null;
    } finally {
      disarm();
    }
  }
}

function urlOf(api: string): URL {
  if (/^https?:/.test(api) && URL.canParse(api)) return new URL(api);
  throw new UsageError(
    `Cannot use the broker API "${maskUrl(api)}": write a URL such as http://host:15672/api/`,
  );
}
