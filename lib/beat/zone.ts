/**
 * A time zone as spans of constant offset: local time by addition, without a calendar object per question.
 *
 * Transitions come from Temporal, once per span; a year of questions costs two of them.
 */

import { UsageError } from "../base/mod.ts";

/**
 * A stretch of time with one offset. `start` included, `end` not; infinite where the zone knows no more
 * changes.
 */
export interface Span {
  /** Epoch milliseconds. */
  readonly start: number;
  readonly end: number;
  /** Local time minus UTC, milliseconds. */
  readonly offset: number;
}

/** The spans that are kept; with more the oldest go. Ten years of the busiest zone are 40. */
const SPANS_MAX = 256;
/** More than the largest offset there is, so that a guess of this width meets the instant meant. */
const OFFSET_MAX_MS = 15 * 3_600_000;

const zones = new Map<string, Zone>();

/** One zone. All wall times are milliseconds as if local time were UTC. */
export class Zone {
  readonly name: string;
  #spans: Span[] = [];
  #last: Span | null = null;

  private constructor(name: string) {
    this.name = name;
    this.spanAt(0);
  }

  /** The zone of an IANA name or an offset such as "+02:00". Throws UsageError for one there is not. */
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

  /** The zone of this machine. */
  static local(): Zone {
    return Zone.of(Temporal.Now.timeZoneId());
  }

  /** The span that holds a moment. */
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

  /** Local time of a moment. */
  wallOf(ms: number): number {
    return ms + this.spanAt(ms).offset;
  }

  /**
   * The moment of a local time. One that exists twice (clocks went back) is the first of the two; one that
   * does not exist (clocks went forward) is as far after the gap as it lies in it, as if the clocks had not
   * been changed yet.
   */
  instantOf(wall: number): number {
    const before = this.spanAt(wall - OFFSET_MAX_MS);
    const early = wall - before.offset;
    if (early < before.end) return early;
    const after = this.spanAt(wall + OFFSET_MAX_MS);
    const late = wall - after.offset;
    return late >= after.start ? late : early;
  }

  /** ISO 8601 with the offset, to the second: "2026-11-23T04:00:00+01:00". */
  format(ms: number): string {
    const { offset } = this.spanAt(ms);
    const local = new Date(ms + offset).toISOString().slice(0, 19);
    const minutes = Math.round(Math.abs(offset) / 60_000);
    const two = (value: number) => String(value).padStart(2, "0");
    return `${local}${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
  }

  #read(ms: number): Span {
    // `previous` is strictly before, and a transition's own moment belongs to what comes after it.
    const at = Temporal.Instant.fromEpochMilliseconds(Math.floor(ms) + 1).toZonedDateTimeISO(this.name);
    const here = Temporal.Instant.fromEpochMilliseconds(Math.floor(ms)).toZonedDateTimeISO(this.name);
    return {
      start: at.getTimeZoneTransition("previous")?.epochMilliseconds ?? -Infinity,
      end: here.getTimeZoneTransition("next")?.epochMilliseconds ?? Infinity,
      offset: here.offsetNanoseconds / 1_000_000,
    };
  }
}
