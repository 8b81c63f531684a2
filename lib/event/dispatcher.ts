/**
 * Events on their way out: made at once, sent in batches, never waited for.
 *
 * An event becomes text when it happens (so that its clock and time are right) and leaves at the end of the turn,
 * neighbouring task events together as one array. One batch is on its way at a time; what happens meanwhile goes with
 * the next. While the broker is away events are kept, the newest `EVENTS_MAX` of them.
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

/** Task events in one array at most. Celery's writer stops at 24; every reader takes an array of any length. */
export const MULTI_MAX = 100;
/** Characters of an array after which another is begun. */
const MULTI_CHARS_MAX = 256 * 1024;
/** Events of one batch at most. */
const BATCH_MAX = 2000;
/** Events kept while the broker is away at most, and their characters; past it the oldest go. */
export const EVENTS_MAX = 10_000;
const CHARS_MAX = 16 << 20;
/** Milliseconds until a batch that failed is tried again: at first, and at most. */
const RETRY_MS = 1000;
const RETRY_MAX_MS = 15_000;
/** How often the time zone is looked up: it changes twice a year. */
const ZONE_EVERY_MS = 60_000;

/** Common fields, which an event's own may not take the place of. */
const RESERVED: ReadonlySet<string> = new Set([
  "hostname",
  "utcoffset",
  "pid",
  "clock",
  "uuid",
  "timestamp",
  "type",
]);

/** How to make a dispatcher. */
export interface DispatcherOptions {
  /** The sender's name. */
  hostname: string;
  /** False: no event is sent until a group is enabled. Default true. */
  enabled?: boolean;
  /** Groups whose events are sent, such as "worker"; empty (the default): all. */
  groups?: readonly string[];
  /** Where messages go. Default the App's publisher. */
  publisher?: Publisher;
}

interface Entry {
  readonly isTask: boolean;
  readonly type: string;
  /** The JSON text; with another serializer the event itself. */
  readonly content: string | EventMessage;
  readonly chars: number;
}

/** Sends the events of one sender. */
export class EventDispatcher {
  readonly hostname: string;
  /** Read by the data lane before an event is made: whether task events are sent. */
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

  /** The groups that are sent; empty: all. */
  get groups(): ReadonlySet<string> {
    return this.#groups;
  }

  /** Events not sent yet. */
  get pending(): number {
    return this.#entries.length;
  }

  /** True where events of this group are sent. */
  sends(group: string): boolean {
    return this.#isOn && (this.#groups.size === 0 || this.#groups.has(group));
  }

  /** Sends a group's events from now on; whether they were not sent before. */
  enableGroup(group: string): boolean {
    if (this.sends(group)) return false;
    if (!this.#isOn) this.#groups.clear();
    this.#isOn = true;
    this.#groups.add(group);
    this.#update();
    return true;
  }

  /**
   * Stops a group's events; whether they were sent by name. Where all groups are sent, as with `-E`, it has no
   * effect, as in Celery.
   */
  disableGroup(group: string): boolean {
    if (!this.#groups.delete(group)) return false;
    if (this.#groups.size === 0) this.#isOn = false;
    this.#update();
    return true;
  }

  /**
   * Sends an event of a group that is enabled, with its own fields in their order. Never throws: fields that JSON
   * cannot carry are one line in the log. Cost: per event one text; no promise.
   */
  send(type: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.sends(eventGroup(type))) this.#add(type, null, fields);
  }

  /** As `send`, about one task: its id stands in front. */
  task(type: string, uuid: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.sendsTasks) this.#add(type, uuid, fields);
  }

  /** Sends an event that a task's own code asked for, whatever groups are enabled. Reserved names are left out. */
  custom(type: string, uuid: string | null, fields: Readonly<Record<string, unknown>>): void {
    let own = fields;
    for (const key in fields) {
      if (!RESERVED.has(key)) continue;
      own = Object.fromEntries(Object.entries(fields).filter(([name]) => !RESERVED.has(name)));
      break;
    }
    this.#add(type, uuid, own);
  }

  /** Sends what is waiting now, not at the turn's end; resolves when it has left, failed, or `withinMs` passed. */
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

  /** Tries again at once what could not be sent: the broker is back. */
  retry(): void {
    this.#retryMs = 0;
    this.#disarmRetry?.();
    this.#disarmRetry = null;
    this.#schedule();
  }

  /** Sends what waits and ends; what cannot be sent within `withinMs` is dropped. Twice is once. */
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
    // A heartbeat that could not be sent says nothing any more when it can.
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

  // A tenth goes at once, so that a full buffer does not cost a copy per event.
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

  /** The messages of some events: neighbouring task events as arrays, others alone. */
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
