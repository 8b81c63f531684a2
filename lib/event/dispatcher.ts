/**
 * Sends events: encoded when they happen, published in batches, never waited for.
 *
 * An event is encoded when it happens, so that its clock and time are right, and is published at the end of
 * the turn; consecutive task events share one array. One batch is published at a time; later events wait for
 * the next. While the broker is away, the newest `EVENTS_MAX` events are kept.
 *
 * Source: celery 5.2.6 events/dispatcher.py EventDispatcher; protocol.md 5.1, 5.2.
 */

import { type Disarm, errorText, type World } from "../base/mod.ts";
import { type App, appBrokerUrls, type LamportClock, type Publisher } from "../app/mod.ts";
import { type OutgoingMessage, transportOf } from "../transport/mod.ts";
import {
  encodeEvent,
  encodeEvents,
  encodeEventText,
  type EventMessage,
  eventRoutingKey,
  eventText,
  eventTextHead,
  loadSerializer,
  TASK_MULTI,
  toJson,
} from "../wire/mod.ts";
import { eventGroup, utcOffset } from "./event.ts";

/** Task events in one array at most. Celery sends 24 at most; every reader accepts any length. */
export const MULTI_MAX = 100;
/** Characters of an array after which a new one is begun. */
const MULTI_CHARS_MAX = 256 * 1024;
/** Events in one batch at most. */
const BATCH_MAX = 2000;
/** Events kept while the broker is away at most, and their characters; the oldest are dropped first. */
export const EVENTS_MAX = 10_000;
const CHARS_MAX = 16 << 20;
/** Milliseconds until a failed batch is tried again: the first time, and at most. */
const RETRY_MS = 1000;
const RETRY_MAX_MS = 15_000;
/** How often the UTC offset is read, milliseconds: it changes twice a year. */
const ZONE_EVERY_MS = 60_000;

/** Common fields, which an event's own fields must not replace. */
const RESERVED: ReadonlySet<string> = new Set([
  "hostname",
  "utcoffset",
  "pid",
  "clock",
  "uuid",
  "timestamp",
  "type",
]);

/** Options of a dispatcher. */
export interface DispatcherOptions {
  /** The sender's name. */
  hostname: string;
  /** False: send no event until a group is enabled. Default true. */
  enabled?: boolean;
  /** Groups whose events are sent, such as "worker"; empty: all. Default empty. */
  groups?: readonly string[];
  /** Publishes the messages. Default the App's publisher. */
  publisher?: Publisher;
}

interface Entry {
  readonly isTask: boolean;
  readonly type: string;
  /** The JSON text; if another serializer is configured, the event itself. */
  readonly content: string | EventMessage;
  readonly chars: number;
}

/**
 * Sends the events of one sender.
 *
 * @example
 * ```ts
 * import { App } from "lovage";
 *
 * const app = new App("shop");
 * const dispatcher = app.events.dispatcher();
 * dispatcher.send("shop-sold", { item: 7 });
 * await dispatcher.close();
 * ```
 */
export class EventDispatcher {
  readonly hostname: string;
  /** Whether task events are sent; the data lane checks it before it makes one. */
  sendsTasks = false;
  readonly #world: World;
  readonly #clock: LamportClock;
  readonly #app: App;
  readonly #publisher: Publisher | null;
  readonly #groups: Set<string>;
  readonly #isJson: boolean;
  readonly #bodyEncoding: "base64" | "none";
  #isOn: boolean;
  #head = "";
  #zoneUntilMs = -Infinity;
  #offset = 0;
  #entries: Entry[] = [];
  #chars = 0;
  #dropped = 0;
  #isScheduled = false;
  #sending: Promise<void> | null = null;
  #retryMs = 0;
  #disarmRetry: Disarm | null = null;
  #isClosed = false;

  constructor(app: App, options: DispatcherOptions) {
    const { conf, world } = app;
    this.#app = app;
    this.#world = world;
    this.#clock = app.clock;
    this.#publisher = options.publisher ?? null;
    this.hostname = options.hostname;
    this.#isOn = options.enabled ?? true;
    this.#groups = new Set(options.groups ?? []);
    this.#isJson = conf.event_serializer === "json";
    const isVirtual = transportOf(appBrokerUrls(app, true)[0]!) !== "amqp";
    this.#bodyEncoding = isVirtual && conf.broker_transport_options["body_encoding"] !== null
      ? "base64"
      : "none";
    this.#update();
  }

  /** Whether any event is sent. */
  get isEnabled(): boolean {
    return this.#isOn;
  }

  /** The groups whose events are sent; empty: all. */
  get groups(): ReadonlySet<string> {
    return this.#groups;
  }

  /** Number of events not published yet. */
  get pending(): number {
    return this.#entries.length;
  }

  /** Returns true if events of this group are sent. */
  sends(group: string): boolean {
    return this.#isOn && (this.#groups.size === 0 || this.#groups.has(group));
  }

  /** Starts to send a group's events; returns false if they were sent already. */
  enableGroup(group: string): boolean {
    if (this.sends(group)) return false;
    if (!this.#isOn) this.#groups.clear();
    this.#isOn = true;
    this.#groups.add(group);
    this.#update();
    return true;
  }

  /**
   * Stops sending a group's events; returns false if the group was not enabled by name. If all groups are
   * sent, as with `-E`, it has no effect, as in Celery.
   */
  disableGroup(group: string): boolean {
    if (!this.#groups.delete(group)) return false;
    if (this.#groups.size === 0) this.#isOn = false;
    this.#update();
    return true;
  }

  /**
   * Sends an event if its group is enabled, with its own fields in their order. Never throws: fields that
   * JSON cannot carry are logged in one line. Cost for each event: one text, no promise.
   */
  send(type: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.sends(eventGroup(type))) this.#add(type, null, fields);
  }

  /** Does the same as `send` for an event of a task, whose id comes first. */
  task(type: string, uuid: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.sendsTasks) this.#add(type, uuid, fields);
  }

  /**
   * Sends an event that a task's own code asked for, whatever groups are enabled. Fields with reserved names
   * are left out.
   */
  custom(type: string, uuid: string | null, fields: Readonly<Record<string, unknown>>): void {
    let own = fields;
    for (const key in fields) {
      if (!RESERVED.has(key)) continue;
      own = Object.fromEntries(Object.entries(fields).filter(([name]) => !RESERVED.has(name)));
      break;
    }
    this.#add(type, uuid, own);
  }

  /**
   * Publishes pending events now instead of at the end of the turn. Resolves when they are published, when
   * that failed, or after `withinMs`. Never rejects.
   */
  async flush(withinMs = 1000): Promise<void> {
    const waiting = new AbortController();
    const late = this.#world.clock.sleep(withinMs, waiting.signal).then(() => true, () => false);
    while (this.#entries.length > 0 || this.#sending !== null) {
      if (this.#retryMs > 0 && this.#sending === null) break;
      this.#flush();
      if (await Promise.race([this.#sending?.then(() => false), late])) break;
    }
    waiting.abort();
    await late;
  }

  /** Retries at once what could not be published, because the broker is back. */
  retry(): void {
    this.#retryMs = 0;
    this.#disarmRetry?.();
    this.#disarmRetry = null;
    this.#schedule();
  }

  /**
   * Publishes pending events and ends; what cannot be published within `withinMs` is dropped. A second call
   * has no effect. Never rejects.
   */
  async close(withinMs = 1000): Promise<void> {
    if (this.#isClosed) return;
    await this.flush(withinMs);
    this.#isClosed = true;
    this.#isOn = false;
    this.#update();
    this.#disarmRetry?.();
    this.#disarmRetry = null;
    this.#entries = [];
    this.#chars = 0;
  }

  #update(): void {
    this.sendsTasks = this.sends("task");
  }

  #add(type: string, uuid: string | null, fields: Readonly<Record<string, unknown>>): void {
    if (this.#isClosed) return;
    // A heartbeat that is sent late has no use.
    if (this.#retryMs > 0 && type === "worker-heartbeat") return;
    const nowMs = this.#world.clock.wallMs();
    if (nowMs >= this.#zoneUntilMs || nowMs < this.#zoneUntilMs - ZONE_EVERY_MS) this.#lookUpZone(nowMs);
    const clock = this.#clock.forward();
    const timestamp = nowMs / 1000;
    let content: string | EventMessage;
    let chars = 200;
    try {
      if (this.#isJson) {
        content = eventText(this.#head, { clock, uuid, timestamp, type }, toJson(fields));
        chars = content.length;
      } else {
        const own = uuid === null ? { ...fields } : { uuid, ...fields };
        content = {
          type,
          hostname: this.hostname,
          utcOffset: this.#offset,
          pid: this.#world.host.pid,
          clock,
          timestamp,
          fields: own,
        };
      }
    } catch (error) {
      this.#world.log.warning(`Cannot send event ${type}: ${errorText(error)}`);
      return;
    }
    this.#entries.push({ isTask: eventGroup(type) === "task", type, content, chars });
    this.#chars += chars;
    if (this.#entries.length > EVENTS_MAX || this.#chars > CHARS_MAX) this.#makeRoom();
    this.#schedule();
  }

  #lookUpZone(nowMs: number): void {
    this.#offset = utcOffset(nowMs);
    this.#zoneUntilMs = nowMs + ZONE_EVERY_MS;
    this.#head = eventTextHead(this.hostname, this.#offset, this.#world.host.pid);
  }

  // Drops a tenth at once, so that a full buffer does not cost a copy for each event.
  #makeRoom(): void {
    let count = Math.ceil(this.#entries.length / 10);
    let left = this.#chars;
    for (let i = 0; i < count; i++) left -= this.#entries[i]!.chars;
    while (left > CHARS_MAX && count < this.#entries.length) left -= this.#entries[count++]!.chars;
    if (this.#dropped === 0) {
      this.#world.log.warning(
        "Events are dropped, the oldest first: the broker does not take them fast enough",
      );
    }
    this.#dropped += count;
    this.#chars = left;
    this.#entries.splice(0, count);
  }

  #schedule(): void {
    if (this.#isScheduled || this.#sending !== null || this.#retryMs > 0 || this.#isClosed) return;
    if (this.#entries.length === 0) return;
    this.#isScheduled = true;
    this.#world.clock.defer(() => {
      this.#isScheduled = false;
      if (this.#retryMs === 0) this.#flush();
    });
  }

  #flush(): void {
    if (this.#sending !== null || this.#entries.length === 0 || this.#isClosed) return;
    const taken = this.#entries.length <= BATCH_MAX ? this.#entries : this.#entries.slice(0, BATCH_MAX);
    this.#entries = this.#entries.length <= BATCH_MAX ? [] : this.#entries.slice(BATCH_MAX);
    for (const entry of taken) this.#chars -= entry.chars;
    this.#sending = this.#publish(taken).then(() => {
      this.#sending = null;
      this.#schedule();
    });
  }

  async #publish(entries: Entry[]): Promise<void> {
    let batch: OutgoingMessage[];
    try {
      if (!this.#isJson) await loadSerializer(this.#app.conf.event_serializer);
      batch = this.#messages(entries);
    } catch (error) {
      this.#world.log.warning(`Cannot encode ${entries.length} events: ${errorText(error)}`);
      return;
    }
    try {
      await (this.#publisher ?? this.#app.publisher).publish(batch, { retry: false });
    } catch (error) {
      this.#failed(entries, error);
      return;
    }
    this.#retryMs = 0;
    if (this.#dropped > 0) {
      this.#world.log.warning(`${this.#dropped} events were dropped`);
      this.#dropped = 0;
    }
  }

  #failed(entries: Entry[], error: unknown): void {
    if (this.#isClosed) return;
    if (this.#retryMs === 0) {
      this.#world.log.warning(`Cannot publish events, they are kept for now: ${errorText(error)}`);
    }
    this.#retryMs = Math.min(this.#retryMs * 2 || RETRY_MS, RETRY_MAX_MS);
    const kept = entries.filter((entry) => entry.type !== "worker-heartbeat");
    this.#entries = [...kept, ...this.#entries];
    for (const entry of kept) this.#chars += entry.chars;
    if (this.#entries.length > EVENTS_MAX || this.#chars > CHARS_MAX) this.#makeRoom();
    const { clock } = this.#world;
    this.#disarmRetry?.();
    this.#disarmRetry = clock.arm(clock.monoMs() + this.#retryMs, () => {
      this.#disarmRetry = null;
      this.#flush();
    });
  }

  /** Makes the messages of events: consecutive task events as arrays, others alone. */
  #messages(entries: readonly Entry[]): OutgoingMessage[] {
    const messages: OutgoingMessage[] = [];
    let group: Entry[] = [];
    let chars = 0;
    for (const entry of entries) {
      if (!entry.isTask) {
        this.#pushGroup(messages, group);
        group = [];
        chars = 0;
        messages.push(this.#single(entry));
        continue;
      }
      group.push(entry);
      chars += entry.chars;
      if (group.length < MULTI_MAX && chars < MULTI_CHARS_MAX) continue;
      this.#pushGroup(messages, group);
      group = [];
      chars = 0;
    }
    this.#pushGroup(messages, group);
    return messages;
  }

  #pushGroup(messages: OutgoingMessage[], group: readonly Entry[]): void {
    if (group.length === 0) return;
    const message = this.#isJson
      ? encodeEventText(`[${group.map(({ content }) => content).join(",")}]`, this.hostname, this.#encoding)
      : encodeEvents(group.map(({ content }) => content as EventMessage), this.#encoding);
    messages.push({ exchange: this.#app.conf.event_exchange, routingKey: TASK_MULTI, message });
  }

  #single({ type, content }: Entry): OutgoingMessage {
    const message = typeof content === "string"
      ? encodeEventText(content, this.hostname, this.#encoding)
      : encodeEvent(content, this.#encoding);
    return { exchange: this.#app.conf.event_exchange, routingKey: eventRoutingKey(type), message };
  }

  get #encoding(): { serializer: string; bodyEncoding: "base64" | "none" } {
    return { serializer: this.#app.conf.event_serializer, bodyEncoding: this.#bodyEncoding };
  }
}
