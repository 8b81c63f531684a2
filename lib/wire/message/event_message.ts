/**
 * Events, which workers and clients send to monitors: single ones, or several task events in one array.
 *
 * Source: celery 5.6.3 events/event.py Event, events/dispatcher.py EventDispatcher; protocol captures of both
 * versions.
 */

import { quoted } from "../../base/mod.ts";
import { DecodeError } from "../errors.ts";
import { toJson } from "../json/json.ts";
import type { EncodedMessage } from "./message.ts";
import { controlMessage, decodeControlPayload } from "./mailbox_message.ts";
import { kindOf, recordOrNull } from "../record.ts";
import { type Accept, JSON_TYPE, serialize } from "../serializer/serializer.ts";

/**
 * One event. `timestamp` is epoch seconds, `utcOffset` hours west of UTC, `clock` the sender's logical clock.
 */
export interface EventMessage {
  /** "task-received", "worker-heartbeat" … */
  type: string;
  /** The sender's node name. */
  hostname: string;
  utcOffset: number;
  pid: number;
  clock: number;
  timestamp: number;
  /** The event's own fields by their names on the wire, in the order in which they are written. */
  fields: Record<string, unknown>;
}

/** The options for encoding events. */
export interface EventEncoding {
  /** The name of a loaded serializer. Default "json". */
  serializer?: string;
  bodyEncoding: "base64" | "none";
  /** Default 1: events are transient. */
  deliveryMode?: 1 | 2;
}

/** The routing key of arrays of task events. */
export const TASK_MULTI = "task.multi";

/** Returns the routing key of one event: its type with dots instead of dashes. */
export function eventRoutingKey(type: string): string {
  return type.replaceAll("-", ".");
}

/** Returns the message of one event; its routing key is `eventRoutingKey(event.type)`. Throws EncodeError. */
export function encodeEvent(event: EventMessage, options: EventEncoding): EncodedMessage {
  return eventMessage(eventRecord(event), event.hostname, options);
}

/**
 * Returns the message of several task events of one sender; its routing key is `TASK_MULTI`. Throws
 * EncodeError.
 */
export function encodeEvents(events: readonly EventMessage[], options: EventEncoding): EncodedMessage {
  const records: Record<string, unknown>[] = [];
  for (const event of events) records.push(eventRecord(event));
  return eventMessage(records, events[0]?.hostname ?? "", options);
}

/**
 * Returns the JSON text of one event, with the fields of `eventRecord`, written directly. `head` comes from
 * `eventTextHead`; `fields` is the JSON text of an object without the common fields. Cost: per event.
 */
export function eventText(
  head: string,
  event: { clock: number; uuid: string | null; timestamp: number; type: string },
  fields: string,
): string {
  const uuid = event.uuid === null ? "" : `,"uuid":${quoted(event.uuid)}`;
  const own = fields.length > 2 ? `,${fields.slice(1, -1)}` : "";
  return `${head}${event.clock}${uuid}${own},"timestamp":${event.timestamp},"type":${quoted(event.type)}}`;
}

/**
 * Returns the start of an event's text, up to the value of `clock`, which is the same for all events of one
 * sender.
 */
export function eventTextHead(hostname: string, utcOffset: number, pid: number): string {
  return `{"hostname":${quoted(hostname)},"utcoffset":${utcOffset},"pid":${pid},"clock":`;
}

/** Returns the message of a JSON text: one event (`eventText`), or an array of such texts. */
export function encodeEventText(
  text: string,
  hostname: string,
  options: Omit<EventEncoding, "serializer">,
): EncodedMessage {
  const serialized = { body: text, contentType: JSON_TYPE, contentEncoding: "utf-8" };
  return controlMessage(serialized, { hostname }, options);
}

/**
 * Returns the events of a message, which has one event or an array. Items that are not events are skipped.
 * Throws DecodeError if there are only such items, and ContentDisallowed or DecodeError if the body cannot be
 * read.
 */
export function decodeEvents(message: EncodedMessage, accept: Accept): EventMessage[] {
  const value = decodeControlPayload(message, accept);
  const items = Array.isArray(value) ? value : [value];
  const events: EventMessage[] = [];
  for (const item of items) {
    const event = eventFrom(item);
    if (event !== null) events.push(event);
  }
  if (events.length === 0 && !(Array.isArray(value) && value.length === 0)) {
    throw new DecodeError(`Cannot decode event: ${kindOf(value)} without an event in it`);
  }
  return events;
}

/** Returns the wire form of an event: common fields first, timestamp and type last. */
export function eventRecord(event: EventMessage): Record<string, unknown> {
  const record: Record<string, unknown> = {
    hostname: event.hostname,
    utcoffset: event.utcOffset,
    pid: event.pid,
    clock: event.clock,
  };
  const { fields } = event;
  for (const key in fields) record[key] = fields[key];
  record["timestamp"] = event.timestamp;
  record["type"] = event.type;
  return record;
}

/** Returns an event from its wire form; null if it has no type. Missing common fields become "" and 0. */
function eventFrom(value: unknown): EventMessage | null {
  const record = recordOrNull(value);
  if (record === null || typeof record["type"] !== "string") return null;
  const fields: Record<string, unknown> = {};
  for (const key of Object.keys(record)) {
    if (!COMMON_FIELDS.has(key)) fields[key] = record[key];
  }
  return {
    type: record["type"],
    hostname: typeof record["hostname"] === "string" ? record["hostname"] : "",
    utcOffset: number(record["utcoffset"]),
    pid: number(record["pid"]),
    clock: number(record["clock"]),
    timestamp: number(record["timestamp"]),
    fields,
  };
}

const COMMON_FIELDS: ReadonlySet<string> = new Set([
  "hostname",
  "utcoffset",
  "pid",
  "clock",
  "timestamp",
  "type",
  "__proto__",
]);

function eventMessage(value: unknown, hostname: string, options: EventEncoding): EncodedMessage {
  const serializer = options.serializer ?? "json";
  const serialized = serializer === "json"
    ? { body: toJson(value), contentType: JSON_TYPE, contentEncoding: "utf-8" }
    : serialize(value, serializer);
  return controlMessage(serialized, { hostname }, options);
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
