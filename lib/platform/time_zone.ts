/**
 * The time zone in TZ, if it has a form that the runtime does not read: empty, a POSIX string such as
 * "EST5EDT" or "<+03>-3", or a file. For these the runtime's clock and its Temporal disagree or have no zone
 * at all. So TZ is replaced by the name of the zone that it means, before any code reads the time.
 *
 * Source: POSIX.1-2024 8.3 (TZ); glibc's tzset(3) for invalid values: UTC.
 */

import { readFile } from "./files.ts";

/** The system's folder of zone files; the last line of a file is the zone's rule as a POSIX string. */
const ZONE_FOLDER = "/usr/share/zoneinfo";
/** The runtime's name for an unknown zone. */
const UNKNOWN = "Etc/Unknown";
/** When summer time begins and ends if the string does not say. Source: glibc's posixrules. */
const DEFAULT_RULES = "M3.2.0,M11.1.0";

const NAME = "(?:<[A-Za-z0-9+-]{3,}>|[A-Za-z]{3,})";
const OFFSET = "([+-]?\\d{1,3}(?::\\d{1,2}){0,2})";
const POSIX = new RegExp(`^${NAME}${OFFSET}(?:(${NAME})${OFFSET}?(?:,(.+))?)?$`);

/** A zone, with a warning if it is not exactly the one given. */
export interface TimeZoneFound {
  /** An IANA name. */
  readonly zone: string;
  /** Null if the zone is exactly the one given. */
  readonly warning: string | null;
}

let warning: string | null = null;

/** Makes the runtime use the zone that TZ means. Called once at the start; costs nothing if TZ is not set. */
export function applyTimeZone(): void {
  let given: string | undefined;
  try {
    given = Deno.env.get("TZ");
  } catch {
    return; // without the permission to read TZ, the zone stays
  }
  if (given === undefined || Temporal.Now.timeZoneId() === given) return;
  const found = findTimeZone(given);
  warning = found.warning;
  if (found.zone !== given) Deno.env.set("TZ", found.zone);
}

/** Returns the warning about TZ, for programs that depend on the time; null if there is none. */
export function timeZoneWarning(): string | null {
  return warning;
}

/** Returns the zone that a value of TZ means; UTC for an invalid one. */
export function findTimeZone(given: string): TimeZoneFound {
  const text = given.trim().replace(/^:/, "");
  if (text === "") return { zone: "UTC", warning: null };
  const zone = text.startsWith("/") ? zoneOfFile(text) : zoneOfText(text);
  if (zone !== null) return { zone, warning: null };
  const standard = standardOffset(text);
  if (standard !== null) {
    return {
      zone: standard,
      warning: `TZ "${given}" has rules that match no known time zone: its standard time is used all year`,
    };
  }
  return { zone: "UTC", warning: `TZ "${given}" is not a known time zone: UTC is used` };
}

function zoneOfText(text: string): string | null {
  const name = text.replace(/^(posix|right)\//, "");
  const match = POSIX.exec(name);
  // A zone's name may also be a POSIX string with summer time, such as "EST5EDT". Both mean the same, but the
  // named zone has the rules of past years too.
  if (isZoneName(name) && !(match && match[2] === undefined)) return name;
  if (!match) return null;
  return match[2] === undefined ? zoneOfOffset(minutes(match[1]!)) : zoneOfRules(name);
}

/**
 * Returns the zone of a file, following links: by its name in the system's folder, else by the rule at the
 * end of the file.
 */
function zoneOfFile(path: string): string | null {
  let real = path;
  try {
    real = Deno.realPathSync(path);
  } catch {
    return null; // no such file
  }
  const at = real.indexOf("/zoneinfo/");
  const name = at < 0 ? null : real.slice(at + "/zoneinfo/".length).replace(/^(posix|right)\//, "");
  if (name !== null && isZoneName(name)) return name;
  const rule = ruleOf(real);
  return rule === null ? null : zoneOfText(rule);
}

function isZoneName(name: string): boolean {
  try {
    return /^[A-Za-z]/.test(name) && new Intl.DateTimeFormat("en", { timeZone: name }) !== null &&
      name !== UNKNOWN;
  } catch {
    return false; // not a zone
  }
}

/** Returns a zone without summer time, by its minutes east of Greenwich. */
function zoneOfOffset(east: number): string | null {
  if (east === 0) return "UTC";
  // These names have the opposite sign.
  if (east % 60 === 0) {
    const name = `Etc/GMT${east > 0 ? "-" : "+"}${Math.abs(east) / 60}`;
    if (isZoneName(name)) return name;
  }
  const year = Temporal.Now.plainDateISO("UTC").year;
  const days = [1, 4, 7, 10].map((month) =>
    Temporal.Instant.from(`${year}-${String(month).padStart(2, "0")}-01T00Z`)
  );
  return Intl.supportedValuesOf("timeZone").find((zone) =>
    days.every((day) => day.toZonedDateTimeISO(zone).offsetNanoseconds === east * 60e9)
  ) ?? null;
}

/** Returns a zone that currently has the rules of a POSIX string. */
function zoneOfRules(text: string): string | null {
  const wanted = rulesOf(text);
  return Intl.supportedValuesOf("timeZone").find((zone) => {
    const rule = ruleOf(`${ZONE_FOLDER}/${zone}`);
    return rule !== null && rulesOf(rule) === wanted;
  }) ?? null;
}

/** Returns a POSIX string in a normal form for comparison: without names, with defaults filled in. */
function rulesOf(text: string): string | null {
  const match = POSIX.exec(text);
  if (!match || match[2] === undefined) return null;
  const standard = minutes(match[1]!);
  const summer = match[3] === undefined ? standard + 60 : minutes(match[3]);
  const rules = (match[4] ?? DEFAULT_RULES).replace(/\/0?2(:00){0,2}(?=,|$)/g, "");
  return `${standard} ${summer} ${rules}`;
}

/** Returns the rule at the end of a zone file; null if there is none. */
function ruleOf(path: string): string | null {
  const text = readFile(path);
  if (text === null || !text.startsWith("TZif")) return null;
  return text.trimEnd().split("\n").at(-1) ?? null;
}

function standardOffset(text: string): string | null {
  const match = POSIX.exec(text);
  return match ? zoneOfOffset(minutes(match[1]!)) : null;
}

/** Returns minutes east of Greenwich; POSIX offsets count to the west. */
function minutes(offset: string): number {
  const [hours = 0, more = 0] = offset.replace(/^[+-]/, "").split(":").map(Number);
  const west = hours * 60 + more;
  return offset.startsWith("-") ? west : -west || 0;
}
