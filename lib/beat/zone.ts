/**
 * A time zone as spans of constant offset, so that local time is an addition and needs no calendar object.
 *
 * Transitions come from Temporal, once for each span; a year has two.
 */

import { UsageError } from "../base/mod.ts";

/**
 * A span of time with one offset. `start` is included, `end` is not; infinite if the zone has no further
 * change.
 */
export interface Span {
  /** Epoch milliseconds. */
  readonly start: number;
  readonly end: number;
  /** Local time minus UTC, milliseconds. */
  readonly offset: number;
}

/** Spans kept at most; the oldest are dropped first. Ten years of the zone with the most changes have 40. */
const SPANS_MAX = 256;
/** More than the largest offset, so that the search around a local time includes its moment. */
const OFFSET_MAX_MS = 15 * 3_600_000;

const zones = new Map<string, Zone>();

/** A time zone. Wall times are milliseconds as if local time were UTC. */
export class Zone {
  readonly name: string;
  #spans: Span[] = [];
  #last: Span | null = null;

  private constructor(name: string) {
    this.name = name;
    this.spanAt(0);
  }

  /** Returns the zone of an IANA name or an offset such as "+02:00". Throws UsageError for an unknown one. */
  static of(name: string): Zone {
    let zone = zones.get(name);
    if (!zone) {
      try {
        zone = new Zone(name);
      } catch (error) {
        throw new UsageError(
          `Unknown time zone "${name}": an IANA name such as "Europe/Prague" is expected`,
          { cause: error },
        );
      }
      zones.set(name, zone);
    }
    return zone;
  }

  /** Returns the zone of this machine. */
  static local(): Zone {
    return Zone.of(Temporal.Now.timeZoneId());
  }

  /** Returns the span that a moment is in. */
  spanAt(ms: number): Span {
    const last = this.#last;
    if (last !== null && ms >= last.start && ms < last.end) return last;
    let found = this.#spans.find((span) => ms >= span.start && ms < span.end);
    if (!found) {
      found = this.#read(ms);
      if (this.#spans.length >= SPANS_MAX) this.#spans.shift();
      this.#spans.push(found);
    }
    return this.#last = found;
  }

  /** Returns the local time of a moment. */
  wallOf(ms: number): number {
    return ms + this.spanAt(ms).offset;
  }

  /**
   * Returns the moment of a local time. If the time occurs twice (clocks went back), it is the first. If it
   * does not occur (clocks went forward), it is the moment at which it would have come without the change.
   */
  instantOf(wall: number): number {
    const before = this.spanAt(wall - OFFSET_MAX_MS);
    const early = wall - before.offset;
    if (early < before.end) return early;
    const after = this.spanAt(wall + OFFSET_MAX_MS);
    const late = wall - after.offset;
    return late >= after.start ? late : early;
  }

  /** Formats a moment as ISO 8601 with its offset, to the second: "2026-11-23T04:00:00+01:00". */
  format(ms: number): string {
    const { offset } = this.spanAt(ms);
    const local = new Date(ms + offset).toISOString().slice(0, 19);
    const minutes = Math.round(Math.abs(offset) / 60_000);
    const two = (value: number) => String(value).padStart(2, "0");
    return `${local}${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
  }

  #read(ms: number): Span {
    // `previous` searches strictly before, and the moment of a transition belongs to the span that it starts.
    const at = Temporal.Instant.fromEpochMilliseconds(Math.floor(ms) + 1).toZonedDateTimeISO(this.name);
    const here = Temporal.Instant.fromEpochMilliseconds(Math.floor(ms)).toZonedDateTimeISO(this.name);
    return {
      start: at.getTimeZoneTransition("previous")?.epochMilliseconds ?? -Infinity,
      end: here.getTimeZoneTransition("next")?.epochMilliseconds ?? Infinity,
      offset: here.offsetNanoseconds / 1_000_000,
    };
  }
}
