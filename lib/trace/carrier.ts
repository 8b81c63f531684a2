/**
 * The headers in which a trace travels.
 *
 * Source: W3C Trace Context, W3C Baggage; opentelemetry-instrumentation-celery (August 2026).
 */

import type { Random } from "../base/mod.ts";

/** A trace's headers by name. */
export type Carrier = Readonly<Record<string, string>>;

const NAMES = ["traceparent", "tracestate", "baggage"] as const;

/** Characters of a `traceparent`, of which the last is the lower half of its flags. */
const TRACEPARENT_LENGTH = 55;
const EVEN_DIGITS = "02468ace";

/**
 * The trace that a message belongs to: its own headers, else those in the inner `headers`, where some senders put them;
 * null if it belongs to none.
 */
export function carrierOf(headers: Readonly<Record<string, unknown>>): Carrier | null {
  const holder = holderOf(headers);
  if (holder === null) return null;
  const carrier: Record<string, string> = {};
  for (const name of NAMES) {
    const value = holder[name];
    if (typeof value === "string") carrier[name] = value;
  }
  return carrier;
}

/** The `traceparent` of `carrierOf`. Allocates nothing. Data lane: per message. */
export function traceparentOf(headers: Readonly<Record<string, unknown>>): string | null {
  return (holderOf(headers)?.["traceparent"] ?? null) as string | null;
}

/**
 * Whether the sender of a `traceparent` has decided that nothing of its trace is recorded: the lowest bit of the flags
 * is 0. False for what has not the shape of one; that all digits are digits is not looked at, which costs 2 µs. Data
 * lane: per message.
 */
export function isUnsampled(traceparent: string): boolean {
  if (traceparent.length !== TRACEPARENT_LENGTH || traceparent[2] !== "-" || traceparent[52] !== "-") {
    return false;
  }
  return EVEN_DIGITS.includes(traceparent[TRACEPARENT_LENGTH - 1]!);
}

/** The header of ours that names spans which a task's span has links to: `traceparent`s with commas between them. */
const LINKS = "lovage_links";
/** A span has no more links. Source: OpenTelemetry's specification, OTEL_SPAN_LINK_COUNT_LIMIT. */
const LINKS_MAX = 128;

/** A header with links to spans, or nothing if there are none. */
export function linksTo(traceparents: readonly string[]): Carrier {
  return traceparents.length === 0 ? {} : { [LINKS]: traceparents.slice(0, LINKS_MAX).join(",") };
}

/** The `traceparent`s that a message's headers name as links. */
export function linksOf(headers: Readonly<Record<string, unknown>>): readonly string[] {
  const text = headers[LINKS];
  return typeof text === "string" && text !== "" ? text.split(",", LINKS_MAX) : NO_LINKS;
}

const NO_LINKS: readonly string[] = [];

/** A trace of which nothing is recorded, so that what it causes elsewhere is not recorded either. */
export function unsampledCarrier(random: Random): Carrier {
  // A UUID's version is among its first digits: neither id is all zeros, which would mean none.
  const digits = () => random.id().replaceAll("-", "");
  return { traceparent: `00-${digits()}-${digits().slice(0, 16)}-00` };
}

function holderOf(headers: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> | null {
  if (typeof headers["traceparent"] === "string") return headers;
  const inner = headers["headers"];
  if (inner === null || typeof inner !== "object") return null;
  const own = inner as Readonly<Record<string, unknown>>;
  return typeof own["traceparent"] === "string" ? own : null;
}
