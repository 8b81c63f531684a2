/**
 * Solar events: dawns, sunrise, noon, sunset and dusks at a place. The package astronomy-engine computes
 * them; it is loaded with the first such entry.
 *
 * If an event does not occur on a day (polar day and night, white nights), the next day on which it occurs
 * counts.
 *
 * Source: celery 5.6.3 schedules.py solar (events, horizons); protocol.md 9.7. Celery 5.2's
 * `dusk_astronomical` has the wrong sign of its horizon and fires in daylight; here it is 18 degrees below,
 * as in 5.6.
 */

import type { SolarSchedule } from "../app/mod.ts";
import { UsageError } from "../base/mod.ts";
import { shownJson } from "../wire/mod.ts";
import { latestByNext, type Timing } from "./timing.ts";

type Astronomy = typeof import("astronomy-engine");

/**
 * Altitude of the sun's centre in degrees; null: the upper limb at the refracted horizon. Direction 0:
 * transit.
 */
const EVENTS: Readonly<Record<string, { direction: 1 | -1 | 0; altitude: number | null }>> = {
  dawn_astronomical: { direction: 1, altitude: -18 },
  dawn_nautical: { direction: 1, altitude: -12 },
  dawn_civil: { direction: 1, altitude: -6 },
  sunrise: { direction: 1, altitude: null },
  solar_noon: { direction: 0, altitude: null },
  sunset: { direction: -1, altitude: null },
  dusk_civil: { direction: -1, altitude: -6 },
  dusk_nautical: { direction: -1, altitude: -12 },
  dusk_astronomical: { direction: -1, altitude: -18 },
};

/** Days searched: an event that does not occur within a year never does. */
const DAYS_AHEAD = 370;
const HOUR_MS = 3_600_000;

let astronomy: Astronomy | null = null;

/** Loads the astronomy package; call it before the first `Solar`. Rejects if it cannot be loaded. */
export async function loadAstronomy(): Promise<void> {
  astronomy ??= await import("astronomy-engine");
}

/** A solar event. */
export class Solar implements Timing {
  readonly kind = "solar";
  readonly repr: string;
  readonly #event: { direction: 1 | -1 | 0; altitude: number | null };
  readonly #latitude: number;
  readonly #longitude: number;

  /** Throws UsageError for an unknown event or an impossible place. */
  constructor({ event, latitude, longitude }: SolarSchedule) {
    const known = Object.hasOwn(EVENTS, event) ? EVENTS[event] : undefined;
    if (!known) {
      throw new UsageError(
        `Unknown solar event "${event}": use one of ${Object.keys(EVENTS).sort().join(", ")}`,
      );
    }
    mustBeWithin("latitude", latitude, 90);
    mustBeWithin("longitude", longitude, 180);
    this.#event = known;
    this.#latitude = latitude;
    this.#longitude = longitude;
    this.repr = `<solar: ${event} at latitude ${latitude}, longitude: ${longitude}>`;
  }

  next(lastMs: number): number | null {
    if (!astronomy) throw new UsageError("The astronomy of solar schedules is not loaded");
    const { Body, Observer, SearchAltitude, SearchHourAngle, SearchRiseSet } = astronomy;
    const { direction, altitude } = this.#event;
    const observer = new Observer(this.#latitude, this.#longitude, 0);
    // Search from a second later: an event's time is exact to less than that, and it must not be found again.
    const from = new Date(lastMs + 1000);
    if (direction === 0) {
      return Math.round(SearchHourAngle(Body.Sun, observer, 0, from).time.date.getTime());
    }
    const found = altitude === null
      ? SearchRiseSet(Body.Sun, observer, direction, from, DAYS_AHEAD)
      : SearchAltitude(Body.Sun, observer, direction, from, DAYS_AHEAD, altitude);
    return found === null ? null : Math.round(found.date.getTime());
  }

  latest(lastMs: number, nowMs: number): number {
    return latestByNext(this, lastMs, nowMs, 30 * HOUR_MS);
  }

  resume(dueMs: number, _nowMs: number): number {
    return dueMs;
  }
}

function mustBeWithin(what: string, degrees: unknown, most: number): void {
  if (typeof degrees === "number" && degrees >= -most && degrees <= most) return;
  throw new UsageError(
    `Cannot use ${what} ${shownJson(degrees)}: it must be a number from ${-most} to ${most}`,
  );
}
