/**
 * The message headers that carry trace context.
 *
 * Source: W3C Trace Context, W3C Baggage; opentelemetry-instrumentation-celery (August 2026).
 */

import type { Random } from "../base/mod.ts";

/** A trace's headers by name. */
export type Carrier = Readonly<Record<string, string>>;

const NAMES = ["traceparent", "tracestate", "baggage"] as const;

/** Length of a `traceparent`. Its last character is the lower half of the flags. */
const TRACEPARENT_LENGTH = 55;
const EVEN_DIGITS = "02468ace";

/**
 * Returns the trace headers of a message, or null if there are none. Looks at the message's own headers
 * first, then at the inner `headers`, where some senders put them.
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

/**
 * Returns the `traceparent` that `carrierOf` would find, or null. Allocates nothing. Data lane: per message.
 */
export function traceparentOf(headers: Readonly<Record<string, unknown>>): string | null {
  return (holderOf(headers)?.["traceparent"] ?? null) as string | null;
}

/**
 * Returns true if the sender of a `traceparent` decided not to record its trace: the lowest bit of the flags
 * is 0. Returns false for a text that does not have the shape of a `traceparent`; the digits are not
 * validated, which would cost 2 µs. Data lane: per message.
 */
export function isUnsampled(traceparent: string): boolean {
  if (traceparent.length !== TRACEPARENT_LENGTH || traceparent[2] !== "-" || traceparent[52] !== "-") {
    return false;
  }
  return EVEN_DIGITS.includes(traceparent[TRACEPARENT_LENGTH - 1]!);
}

/** Our own header: the `traceparent`s of spans that the task's span links to, separated by commas. */
const LINKS = "lovage_links";
/** Maximum links of a span. Source: OpenTelemetry's specification, OTEL_SPAN_LINK_COUNT_LIMIT. */
const LINKS_MAX = 128;

/** Returns a header with links to spans, or no header if there are none. */
export function linksTo(traceparents: readonly string[]): Carrier {
  return traceparents.length === 0 ? {} : { [LINKS]: traceparents.slice(0, LINKS_MAX).join(",") };
}

/** Returns the `traceparent`s that a message's headers name as links. */
export function linksOf(headers: Readonly<Record<string, unknown>>): readonly string[] {
  const text = headers[LINKS];
  return typeof text === "string" && text !== "" ? text.split(",", LINKS_MAX) : NO_LINKS;
}

const NO_LINKS: readonly string[] = [];

/**
 * Returns the headers of a new trace that is not recorded, so that tasks it causes elsewhere are not recorded
 * either.
 */
export function unsampledCarrier(random: Random): Carrier {
  // The version digit is among a UUID's first 16 digits, so neither id is all zeros (which would be invalid).
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
