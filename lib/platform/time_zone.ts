/**
 * The zone of this machine, where TZ says it in a way that the runtime does not read: empty, a POSIX string such as
 * "EST5EDT" or "<+03>-3", a file. The runtime's clock and its Temporal disagree on these, or have no zone at all; so TZ
 * is replaced by the name of the zone that is meant, before anything has asked for the time.
 *
 * Source: POSIX.1-2024 8.3 (TZ); glibc's tzset(3) for what is not valid: UTC.
 */

import { readFile } from "./files.ts";

/** Where the system keeps its zones; the last line of a file is the zone's rule as a POSIX string. */
const ZONE_FOLDER = "/usr/share/zoneinfo";
/** What the runtime calls a zone that it could not find out. */
const UNKNOWN = "Etc/Unknown";
/** When summer time begins and ends where a string does not say. Source: glibc's posixrules. */
const DEFAULT_RULES = "M3.2.0,M11.1.0";

const NAME = "(?:<[A-Za-z0-9+-]{3,}>|[A-Za-z]{3,})";
const OFFSET = "([+-]?\\d{1,3}(?::\\d{1,2}){0,2})";
const POSIX = new RegExp(`^${NAME}${OFFSET}(?:(${NAME})${OFFSET}?(?:,(.+))?)?$`);

/** A zone, and what is to be said about it. */
export interface TimeZoneFound {
  /** An IANA name. */
  readonly zone: string;
  /** Null where it is just what was asked for. */
  readonly warning: string | null;
}

let warning: string | null = null;

/** Has the runtime take the zone that TZ means. Called once, at the start; costs nothing where TZ is not set. */
export function settleTimeZone(): void {
  let given: string | undefined;
  try {
    given = Deno.env.get("TZ");
  } catch {
    return; // A program that may not read its environment keeps what it has.
  }
  if (given === undefined || Temporal.Now.timeZoneId() === given) return;
  const found = findTimeZone(given);
  warning = found.warning;
  if (found.zone !== given) Deno.env.set("TZ", found.zone);
}

/** What is to be told of TZ, by programs that live by the clock; null where nothing is. */
export function timeZoneWarning(): string | null {
  return warning;
}

/** The zone that a value of TZ means; UTC for one that means nothing. */
export function findTimeZone(given: string): TimeZoneFound {
  const text = given.trim().replace(/^:/, "");
  if (text === "") return { zone: "UTC", warning: null };
  const zone = text.startsWith("/") ? zoneOfFile(text) : zoneOfText(text);
  if (zone !== null) return { zone, warning: null };
  const standard = standardOffset(text);
  if (standard !== null) {
    return {
      zone: standard,
      warning: `TZ "${given}" has the rules of no known time zone: its standard time is used all year`,
    };
  }
  return { zone: "UTC", warning: `TZ "${given}" is not a known time zone: UTC is used` };
}

function zoneOfText(text: string): string | null {
  const name = text.replace(/^(posix|right)\//, "");
  const match = POSIX.exec(name);
  // A name of a zone may look like a string, "EST5EDT"; it means the same and knows the past better.
  if (isZoneName(name) && !(match && match[2] === undefined)) return name;
  if (!match) return null;
  return match[2] === undefined ? zoneOfOffset(minutes(match[1]!)) : zoneOfRules(name);
}

/** A zone by its file, links followed: by its name in the system's folder, else by the rule that the file ends with. */
function zoneOfFile(path: string): string | null {
  let real = path;
  try {
    real = Deno.realPathSync(path);
  } catch {
    return null; // There is no such file.
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
    return false; // not one
  }
}

/** A zone without summer time, by its minutes east of Greenwich. */
function zoneOfOffset(east: number): string | null {
  if (east === 0) return "UTC";
  // The signs of these names are the other way round.
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

/** A zone that has the summer time of a POSIX string today. */
function zoneOfRules(text: string): string | null {
  const wanted = rulesOf(text);
  return Intl.supportedValuesOf("timeZone").find((zone) => {
    const rule = ruleOf(`${ZONE_FOLDER}/${zone}`);
    return rule !== null && rulesOf(rule) === wanted;
  }) ?? null;
}

/** A POSIX string without the names, its defaults spelt out: two are the same rule if these are. */
function rulesOf(text: string): string | null {
  const match = POSIX.exec(text);
  if (!match || match[2] === undefined) return null;
  const standard = minutes(match[1]!);
  const summer = match[3] === undefined ? standard + 60 : minutes(match[3]);
  const rules = (match[4] ?? DEFAULT_RULES).replace(/\/0?2(:00){0,2}(?=,|$)/g, "");
  return `${standard} ${summer} ${rules}`;
}

/** The rule at the end of a zone's file; null where there is none. */
function ruleOf(path: string): string | null {
  const text = readFile(path);
  if (text === null || !text.startsWith("TZif")) return null;
  return text.trimEnd().split("\n").at(-1) ?? null;
}

function standardOffset(text: string): string | null {
  const match = POSIX.exec(text);
  return match ? zoneOfOffset(minutes(match[1]!)) : null;
}

/** Minutes east of Greenwich; POSIX counts hours to the west. */
function minutes(offset: string): number {
  const [hours = 0, more = 0] = offset.replace(/^[+-]/, "").split(":").map(Number);
  const west = hours * 60 + more;
  return offset.startsWith("-") ? west : -west || 0;
}
