/**
 * Schedules as written in settings: plain data. The beat room reads them; nothing here knows the time.
 *
 * Source: celery 5.2.6 schedules.py crontab, solar, schedule; surface (g).
 */

/** One field of a crontab: text in Celery's grammar (`"*\/15"`, `"mon-fri"`), a number, or numbers. */
export type CrontabField = string | number | readonly number[];

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

/** What an entry's `schedule` may be; a number is seconds. */
export type Schedule = number | CrontabSchedule | SolarSchedule | IntervalSchedule;

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
  /** Runs missed while no beat ran are sent: all, the last, or none. Ours. */
  catchUp?: boolean | "all" | "last" | "none";
  /** False: not sent while the last one still runs. Ours. */
  overlap?: boolean;
}

/** A crontab. The grammar of its fields is checked by beat. */
export function crontab(fields: CrontabFields = {}): CrontabSchedule {
  return {
    kind: "crontab",
    minute: fields.minute ?? "*",
    hour: fields.hour ?? "*",
    dayOfWeek: fields.dayOfWeek ?? fields.day_of_week ?? "*",
    dayOfMonth: fields.dayOfMonth ?? fields.day_of_month ?? "*",
    monthOfYear: fields.monthOfYear ?? fields.month_of_year ?? "*",
  };
}

/** A sunrise, a dusk: Celery's names of events. */
export function solar(event: string, latitude: number, longitude: number): SolarSchedule {
  return { kind: "solar", event, latitude, longitude };
}

/** An interval with its options; a plain number does where there are none. */
export function schedule(seconds: number, options: { relative?: boolean } = {}): IntervalSchedule {
  return { kind: "interval", seconds, relative: options.relative ?? false };
}
