/**
 * Received events: from a message, whatever it holds, to what handlers are given.
 *
 * Source: celery 5.2.6 events/receiver.py EventReceiver.event_from_message, events/event.py; protocol.md 5.2,
 * 5.3.
 */

import { errorText, LogThrottle, quoted, shownLine, type World } from "../base/mod.ts";
import { type App, eventExchange, type LamportClock } from "../app/mod.ts";
import { type Note, type Queue, queue, type TransportKind } from "../transport/mod.ts";
import { type Accept, acceptedTypes, decodeEvents, type EventMessage, eventRecord } from "../wire/mod.ts";

/** Bytes or base64 characters of one message at most; a larger one is dropped undecoded. */
export const EVENT_BODY_MAX = 4 << 20;
/** Events in one message at most; a message with more is dropped. */
const EVENTS_PER_MESSAGE_MAX = 10_000;
/**
 * Characters of a node's name at most: RabbitMQ accepts no longer one, and it is part of every line about the
 * node.
 */
const SENDER_CHARS_MAX = 255;
/** Largest time of an event: the end of the year 9999, where Python's dates end; and as far before 1970. */
const TIME_MAX = 253_402_300_799;
/** Milliseconds between two log lines about messages that are not events. */
const LINE_EVERY_MS = 1000;

/** An event as handlers get it: names as on the wire, common fields and its own. Times are epoch seconds. */
export interface ReceivedEvent {
  /** Such as "task-received" or "worker-heartbeat". */
  type: string;
  /** The sender's node name; never empty. */
  hostname: string;
  /** The sender's offset from UTC, hours west. */
  utcoffset: number;
  pid: number;
  /** The sender's logical clock; ours if it has none or is a client. */
  clock: number;
  /** When it was sent, by the sender's clock: seconds since the epoch, independent of time zones. */
  timestamp: number;
  /** When it was received, by our clock. */
  local_received: number;
  [field: string]: unknown;
}

/** Returns the offset from UTC in hours west at a time, as Celery counts it: whole, rounded down. */
export function utcOffset(wallMs: number): number {
  return Math.floor(new Date(wallMs).getTimezoneOffset() / 60);
}

/** Returns the group of an event: "task" of "task-sent". */
export function eventGroup(type: string): string {
  const dash = type.indexOf("-");
  return dash < 0 ? type : type.slice(0, dash);
}

/** Returns the queue of one monitor. `ttlSeconds`: how long an event waits for a slow reader (RabbitMQ). */
export function eventQueue(
  app: App,
  transport: TransportKind,
  options: { routingKey: string; ttlSeconds?: number | null; nodeId?: string; prefix?: string },
): Queue {
  const { conf } = app;
  const ttl = options.ttlSeconds === undefined ? conf.event_queue_ttl : options.ttlSeconds;
  const expires = conf.event_queue_expires;
  const prefix = options.prefix ?? conf.event_queue_prefix;
  return queue(`${prefix}.${options.nodeId ?? app.world.random.id()}`, {
    exchange: eventExchange(app, transport),
    routingKey: options.routingKey,
    durable: conf.event_queue_durable,
    exclusive: conf.event_queue_exclusive ?? false,
    isPersonal: conf.event_queue_exclusive === null,
    autoDelete: !conf.event_queue_durable,
    noAck: true,
    queueArguments: {
      ...(ttl === null ? {} : { "x-message-ttl": Math.round(ttl * 1000) }),
      ...(expires === null ? {} : { "x-expires": Math.round(expires * 1000) }),
    },
  });
}

/** Reads messages of the event exchange. One per subscription. */
export class EventReader {
  readonly #world: World;
  readonly #clock: LamportClock;
  readonly #accept: Accept;
  readonly #throttle: LogThrottle;

  constructor(app: App) {
    this.#world = app.world;
    this.#clock = app.clock;
    const { event_serializer: own } = app.conf;
    // As in Celery; but if events are signed, only signed ones are accepted.
    this.#accept = acceptedTypes(own === "auth" ? [own] : [own, "json"]);
    this.#throttle = new LogThrottle(app.world, { everyMs: LINE_EVERY_MS });
  }

  /**
   * Returns the events of a message, and adjusts our clock. Returns none, and logs it, if the message is not
   * an event or too large.
   */
  read(note: Note): ReceivedEvent[] {
    return this.decode(note).map((event) => this.receive(event));
  }

  /** Does the same as `read`, without adjusting our clock. */
  decode({ message, info }: Note): EventMessage[] {
    if (message.body.length > EVENT_BODY_MAX) {
      return this.#dropped(info.routingKey, `its body of ${message.body.length} bytes is too large`);
    }
    try {
      const events = decodeEvents(message, this.#accept);
      if (events.length > EVENTS_PER_MESSAGE_MAX) {
        return this.#dropped(info.routingKey, `it holds ${events.length} events`);
      }
      const sender = message.headers["hostname"];
      const named = events.filter((event) => {
        // Workers of the first protocol give their name only in the header.
        if (event.hostname === "" && typeof sender === "string") event.hostname = sender;
        return event.hostname !== "" && event.hostname.length <= SENDER_CHARS_MAX &&
          Math.abs(event.timestamp) <= TIME_MAX;
      });
      if (named.length < events.length) this.#dropped(info.routingKey, "it names no sender or no time");
      return named;
    } catch (error) {
      return this.#dropped(info.routingKey, errorText(error));
    }
  }

  /** Returns what handlers are given for an event, and adjusts our clock to its. */
  receive(event: EventMessage): ReceivedEvent {
    const nowMs = this.#world.clock.wallMs();
    if (event.type === "task-sent") {
      // Clients never learn other clocks, so theirs means nothing.
      event.clock = (this.#clock.value || 1) - 1;
      this.#clock.adjust(event.clock);
    } else if (event.clock > 0 && event.clock <= Number.MAX_SAFE_INTEGER) this.#clock.adjust(event.clock);
    else event.clock = this.#clock.forward();
    const record = eventRecord(event) as ReceivedEvent;
    record.local_received = nowMs / 1000;
    return record;
  }

  #dropped(routingKey: string, reason: string): [] {
    this.#throttle.log(
      "WARNING",
      `Event ${quoted(shownLine(routingKey, 200))} dropped: ${shownLine(reason, 200)}`,
    );
    return [];
  }
}
