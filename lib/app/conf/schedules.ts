/**
 * Schedules as written in settings: plain data. The beat room reads them; nothing here knows the time.
 *
 * Source: celery 5.2.6 schedules.py crontab, solar, schedule; surface (g).
 */

import { namesOf, refuseUnknown, UsageError } from "../../base/mod.ts";

/** One field of a crontab: text in Celery's grammar (`"*\/15"`, `"mon-fri"`), a number, or numbers. */
export type CrontabField = string | number | readonly number[] | ReadonlySet<number>;

/** Fields of a crontab; what is left out is `*`. Celery's own names are taken too. */
export interface CrontabFields {
  minute?: CrontabField;
  hour?: CrontabField;
  dayOfWeek?: CrontabField;
  dayOfMonth?: CrontabField;
  monthOfYear?: CrontabField;
  day_of_week?: CrontabField;
  day_of_month?: CrontabField;
  month_of_year?: CrontabField;
}

/** A crontab: due where all five fields match (all of them, unlike cron's days). */
export interface CrontabSchedule {
  readonly kind: "crontab";
  readonly minute: CrontabField;
  readonly hour: CrontabField;
  readonly dayOfWeek: CrontabField;
  readonly dayOfMonth: CrontabField;
  readonly monthOfYear: CrontabField;
}

/** An event of the sun at a place; degrees, north and east positive. */
export interface SolarSchedule {
  readonly kind: "solar";
  readonly event: string;
  readonly latitude: number;
  readonly longitude: number;
}

/** Every so many seconds; `relative` rounds to the unit (each full minute, hour, …). */
export interface IntervalSchedule {
  readonly kind: "interval";
  readonly seconds: number;
  readonly relative: boolean;
}

/**
 * What an entry's `schedule` may be; a number is seconds. Text is an ISO 8601 duration ("PT30S"), or the
 * five fields of a crontab in cron's order ("0 4 * * mon").
 */
export type Schedule = number | string | CrontabSchedule | SolarSchedule | IntervalSchedule;

/** An entry of `beat_schedule`. */
export interface BeatEntry {
  task: string;
  schedule: Schedule;
  args?: readonly unknown[];
  kwargs?: Readonly<Record<string, unknown>>;
  /** Options of the call, under Celery's names or ours. */
  options?: Readonly<Record<string, unknown>>;
  /** An interval rounds to its unit. */
  relative?: boolean;
  /** IANA name of the zone of this entry's crontab. Ours. */
  timezone?: string;
  /**
   * Runs missed while no beat ran: the latest of them is sent (`latest`, `last`, true; the default, as
   * Celery does), each of them (`all`), or those not late by more than 30 seconds (`none`, false). Ours.
   */
  catchUp?: boolean | "latest" | "last" | "all" | "none";
  /**
   * `skip` (false): not sent while the last one has not ended; it needs a result store. Default `allow`.
   * Ours.
   */
  overlap?: boolean | "allow" | "skip";
}

/** The names of `CrontabFields`. */
const CRONTAB_NAMES: ReadonlySet<string> = namesOf<CrontabFields>({
  minute: true,
  hour: true,
  dayOfWeek: true,
  dayOfMonth: true,
  monthOfYear: true,
  day_of_week: true,
  day_of_month: true,
  month_of_year: true,
});
/** What an entry may have besides its task and schedule. */
export const ENTRY_OPTIONS = {
  args: true,
  kwargs: true,
  options: true,
  relative: true,
  timezone: true,
  catchUp: true,
  overlap: true,
} as const;
/** The names of `BeatEntry`. */
export const BEAT_ENTRY_NAMES: ReadonlySet<string> = namesOf<BeatEntry>({
  task: true,
  schedule: true,
  ...ENTRY_OPTIONS,
});
const INTERVAL_NAMES = namesOf<{ relative?: boolean }>({ relative: true });
const FIELDS_MAX = 5;

/**
 * A crontab. From its fields by name; from the fields as Celery's `crontab` takes them (minute, hour, day of the
 * week, day of the month, month), so `crontab(0, 4)` is at four; or from one text of five fields in cron's order
 * (minute, hour, day of the month, month, day of the week). Throws UsageError for a field that there is not and for
 * text of another number of fields; the grammar of fields is checked by beat.
 */
export function crontab(fields?: CrontabFields | string): CrontabSchedule;
export function crontab(
  minute: CrontabField,
  hour?: CrontabField,
  dayOfWeek?: CrontabField,
  dayOfMonth?: CrontabField,
  monthOfYear?: CrontabField,
): CrontabSchedule;
export function crontab(...given: (CrontabFields | CrontabField | undefined)[]): CrontabSchedule {
  if (given.length > FIELDS_MAX) {
    throw new UsageError(`Cannot read a crontab of ${given.length} fields: there are five at most`);
  }
  const [fields = {}, ...more] = given;
  const isText = typeof fields === "string" && more.length === 0;
  if (isText && !/^\s*\S+\s*$/.test(fields)) return crontabOfText(fields);
  const isByName = typeof fields === "object" && !Array.isArray(fields) && !(fields instanceof Set);
  if (fields !== null && isByName && more.length === 0) return crontabOfFields(fields as CrontabFields);
  const [minute, hour, dayOfWeek, dayOfMonth, monthOfYear] = [fields, ...more] as CrontabField[];
  for (const field of given) {
    if (typeof field === "object" && (field === null || !(Array.isArray(field) || field instanceof Set))) {
      throw new UsageError(
        "Cannot read a crontab: give one object of fields, or the fields one after the other",
      );
    }
  }
  return crontabOfFields({ minute, hour, dayOfWeek, dayOfMonth, monthOfYear } as CrontabFields);
}

/** A crontab of one text of five fields in cron's order. Throws UsageError for another number of them. */
export function crontabOfText(text: string): CrontabSchedule {
  const [minute, hour, dayOfMonth, monthOfYear, dayOfWeek, ...rest] = text.trim().split(/\s+/);
  if (dayOfWeek === undefined || rest.length > 0) {
    throw new UsageError(
      `Cannot read crontab "${text}": five fields are expected ` +
        "(minute, hour, day of month, month, day of week)",
    );
  }
  return crontabOfFields({
    minute: minute!,
    hour: hour!,
    dayOfMonth: dayOfMonth!,
    monthOfYear: monthOfYear!,
    dayOfWeek,
  });
}

function crontabOfFields(fields: CrontabFields): CrontabSchedule {
  refuseUnknown(fields, CRONTAB_NAMES, "a crontab");
  return {
    kind: "crontab",
    minute: fieldOf(fields.minute),
    hour: fieldOf(fields.hour),
    dayOfWeek: fieldOf(fields.dayOfWeek, fields.day_of_week),
    dayOfMonth: fieldOf(fields.dayOfMonth, fields.day_of_month),
    monthOfYear: fieldOf(fields.monthOfYear, fields.month_of_year),
  };
}

/** The first that is given, else every value. Null stays what it is: beat refuses it, as Celery does. */
function fieldOf(...given: (CrontabField | undefined)[]): CrontabField {
  const field = given.find((one) => one !== undefined);
  return field === undefined ? "*" : field;
}

/** A sunrise, a dusk: Celery's names of events. */
export function solar(event: string, latitude: number, longitude: number): SolarSchedule {
  return { kind: "solar", event, latitude, longitude };
}

/** An interval with its options; a plain number does where there are none. */
export function schedule(seconds: number, options: { relative?: boolean } = {}): IntervalSchedule {
  refuseUnknown(options, INTERVAL_NAMES, "a schedule");
  return { kind: "interval", seconds, relative: options.relative ?? false };
}
