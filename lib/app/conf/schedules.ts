/**
 * Schedules as written in settings: plain data. The beat room evaluates them.
 *
 * Source: celery 5.2.6 schedules.py crontab, solar, schedule; surface (g).
 */

import { namesOf, refuseUnknown, UsageError } from "../../base/mod.ts";

/** One field of a crontab: text in Celery's grammar (`"*\/15"`, `"mon-fri"`), a number, or numbers. */
export type CrontabField = string | number | readonly number[] | ReadonlySet<number>;

/** Fields of a crontab; a field that is not given is `*`. Celery's own names work too. */
export interface CrontabFields {
  /** 0 to 59. */
  minute?: CrontabField;
  /** 0 to 23. */
  hour?: CrontabField;
  /** 0 to 6 from Sunday, or names such as `mon`. */
  dayOfWeek?: CrontabField;
  /** 1 to 31. */
  dayOfMonth?: CrontabField;
  /** 1 to 12, or names such as `jan`. */
  monthOfYear?: CrontabField;
  /** Celery's name of `dayOfWeek`. */
  day_of_week?: CrontabField;
  /** Celery's name of `dayOfMonth`. */
  day_of_month?: CrontabField;
  /** Celery's name of `monthOfYear`. */
  month_of_year?: CrontabField;
}

/** A crontab: due when all five fields match (all of them, unlike cron's two day fields). */
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

/** Every `seconds` seconds. `relative` rounds to the unit (each full minute, hour, …). */
export interface IntervalSchedule {
  readonly kind: "interval";
  readonly seconds: number;
  readonly relative: boolean;
}

/**
 * The type of an entry's `schedule`. A number is seconds. Text is an ISO 8601 duration ("PT30S"), or the five
 * fields of a crontab in cron's order ("0 4 * * mon").
 */
export type Schedule = number | string | CrontabSchedule | SolarSchedule | IntervalSchedule;

/** An entry of `beat_schedule`. */
export interface BeatEntry {
  /** The task's name. */
  task: string;
  /** When it is due. */
  schedule: Schedule;
  /** Positional arguments. Default []. */
  args?: readonly unknown[];
  /** Keyword arguments. Default {}. */
  kwargs?: Readonly<Record<string, unknown>>;
  /** Options of the call, under Celery's names or ours. */
  options?: Readonly<Record<string, unknown>>;
  /** True: an interval rounds to its unit. */
  relative?: boolean;
  /** IANA name of the time zone of this entry's crontab. Ours. */
  timezone?: string;
  /**
   * Which runs to send that were missed while no beat ran: the latest one (`latest`, `last`, true; the
   * default, as in Celery), each one (`all`), or only those at most 30 seconds late (`none`, false). Ours.
   */
  catchUp?: boolean | "latest" | "last" | "all" | "none";
  /**
   * `skip` (false): not sent while the previous run has not ended; requires a result store. Default `allow`.
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
/** The members of an entry besides task and schedule. */
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
 * Makes a crontab: from an object of fields; from the fields in the order of Celery's `crontab` (minute,
 * hour, day of the week, day of the month, month), so `crontab(0, 4)` is at four o'clock; or from a text of
 * five fields in cron's order (minute, hour, day of the month, month, day of the week). Beat checks the
 * grammar of the fields.
 *
 * @example
 * ```ts
 * import { App, crontab } from "lovage";
 *
 * const app = new App("shop");
 * app.conf.beat_schedule = {
 *   nightly: { task: "shop.clean", schedule: crontab({ hour: 4, minute: 0 }) },
 *   workdays: { task: "shop.report", schedule: crontab("30 8 * * mon-fri") },
 * };
 * ```
 *
 * @throws {UsageError} for an unknown field, and for a text that does not have five fields.
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

/**
 * Makes a crontab from a text of five fields in cron's order. Throws UsageError for another number of fields.
 */
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

/** Returns the first field that is given, else `*`. Keeps null, which beat refuses, as Celery does. */
function fieldOf(...given: (CrontabField | undefined)[]): CrontabField {
  const field = given.find((one) => one !== undefined);
  return field === undefined ? "*" : field;
}

/**
 * Makes a schedule for an event of the sun at a place: `event` is one of Celery's names, such as "sunrise" or
 * "dusk_civil"; `latitude` and `longitude` are degrees, north and east positive. Beat checks the name.
 *
 * @example
 * ```ts
 * import { App, solar } from "lovage";
 *
 * const app = new App("lights");
 * app.conf.beat_schedule.on = { task: "lights.on", schedule: solar("sunset", 48.2, 16.37) };
 * ```
 */
export function solar(event: string, latitude: number, longitude: number): SolarSchedule {
  return { kind: "solar", event, latitude, longitude };
}

/**
 * Makes an interval of `seconds` with options; without options a plain number is enough.
 *
 * @example
 * ```ts
 * import { App, schedule } from "lovage";
 *
 * const app = new App("shop");
 * app.conf.beat_schedule.hourly = { task: "shop.sync", schedule: schedule(3600, { relative: true }) };
 * ```
 *
 * @throws {UsageError} for an unknown option.
 */
export function schedule(seconds: number, options: { relative?: boolean } = {}): IntervalSchedule {
  refuseUnknown(options, INTERVAL_NAMES, "a schedule");
  return { kind: "interval", seconds, relative: options.relative ?? false };
}
