/** Formats numbers, durations, times and sizes for the pages, in English. */

const NUMBERS = new Intl.NumberFormat("en");

/** Formats a number with thousands separators; "–" if it is not known. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : NUMBERS.format(value);
}

/** Formats a number in short form: 1234567 is "1.23 M". */
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const [size, letter] = value >= 1e9
    ? [1e9, " G"]
    : value >= 1e6
    ? [1e6, " M"]
    : value >= 1e5
    ? [1e3, " k"]
    : [1, ""];
  return three(value / size) + letter;
}

/** Formats a duration: 0.0042 is "4.2 ms", 75 is "1 m 15 s". */
export function span(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0) return `−${span(-seconds)}`;
  if (seconds < 0.0009995) return `${three(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${three(seconds * 1000)} ms`;
  if (seconds < 60) return `${three(seconds)} s`;
  const whole = Math.round(seconds);
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "m"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts.slice(first, first + 2).filter(([amount], at) => at === 0 || amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}`).join(" ");
}

/** Formats a rate per second, or per minute if it is below one per second. */
export function rate(perSecond: number): [value: string, unit: string] {
  return perSecond > 0 && perSecond < 1 ? [three(perSecond * 60), "/ min"] : [short(perSecond), "/ s"];
}

/** Formats a share in per cent; "" if the whole is 0. */
export function share(part: number, whole: number): string {
  return whole > 0 ? `${three(100 * part / whole)} %` : "";
}

/** Formats a size: 2048 is "2 KiB". */
export function bytes(value: number): string {
  return value < 1024
    ? `${value} B`
    : value < 2 ** 20
    ? `${three(value / 1024)} KiB`
    : `${three(value / 2 ** 20)} MiB`;
}

/** Returns true if a JavaScript date can hold so many seconds since 1970. */
export function isTime(seconds: number): boolean {
  return Math.abs(seconds) <= 8.64e12;
}

/** Formats a time in a zone; undefined means the browser's zone. Today's times have no date. */
export function moment(
  seconds: number,
  { zone, now, fine }: { zone: string | undefined; now: number; fine?: boolean },
): string {
  const date = new Date(seconds * 1000);
  const { day, whole, exact } = formatsOf(zone);
  const clock = (fine ? exact : whole).format(date);
  const on = day.format(date);
  const today = day.format(new Date(now * 1000));
  return on === today ? clock : `${on.slice(-4) === today.slice(-4) ? on.slice(0, -5) : on} ${clock}`;
}

/** The formats of times in one zone. */
interface Formats {
  /** "1 Dec 2026" */
  readonly day: Intl.DateTimeFormat;
  /** "1 Dec" */
  readonly short: Intl.DateTimeFormat;
  /** "09:05:07" */
  readonly whole: Intl.DateTimeFormat;
  /** "09:05:07.250" */
  readonly exact: Intl.DateTimeFormat;
  /** "09:05" */
  readonly minute: Intl.DateTimeFormat;
}

/** One per zone: making a format takes far longer than using it, and a page can have thousands of times. */
const formats = new Map<string | undefined, Formats>();

/** The formats of a zone: "UTC" or, if it is undefined, the reader's. */
export function formatsOf(timeZone: string | undefined): Formats {
  let found = formats.get(timeZone);
  if (found === undefined) {
    const format = (options: Intl.DateTimeFormatOptions) =>
      new Intl.DateTimeFormat("en-GB", { timeZone, ...options });
    const date = { day: "numeric", month: "short" } as const;
    const minute = { hour: "2-digit", minute: "2-digit", hour12: false } as const;
    const whole = { ...minute, second: "2-digit" } as const;
    found = {
      day: format({ ...date, year: "numeric" }),
      short: format(date),
      whole: format(whole),
      exact: format({ ...whole, fractionalSecondDigits: 3 }),
      minute: format(minute),
    };
    formats.set(timeZone, found);
  }
  return found;
}

/** Parses ISO 8601 to seconds since 1970; null if it is not valid. */
export function secondsOf(iso: string | null): number | null {
  const at = iso === null ? NaN : Date.parse(iso) / 1000;
  return Number.isNaN(at) ? null : at;
}

/** Formats a number with three significant digits. */
function three(value: number): string {
  return Math.abs(value) >= 100 ? count(Math.round(value)) : String(Number(value.toPrecision(3)));
}
