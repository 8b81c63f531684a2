/**
 * Entries of the schedule: a call, when it is due, and the state of its runs.
 *
 * Source: celery 5.2.6 beat.py ScheduleEntry, Scheduler.install_default_entries; protocol.md 9.1, 9.3.
 */

import { createHash } from "node:crypto";
import {
  type App,
  BEAT_ENTRY_NAMES,
  type BeatEntry,
  camelOptions,
  checkSendOptions,
  crontab,
  type CrontabFields,
  crontabOfText,
  type IntervalSchedule,
  type SendOptions,
  type SolarSchedule,
} from "../app/mod.ts";
import { errorText, isRecord, namesOf, refuseUnknown, unknownName, UsageError } from "../base/mod.ts";
import { pythonRepr, shownJson } from "../wire/mod.ts";
import { Crontab } from "./crontab.ts";
import { Interval, isoDurationSeconds } from "./interval.ts";
import { loadAstronomy, Solar } from "./solar.ts";
import type { RunState } from "./store.ts";
import type { Timing } from "./timing.ts";
import { Zone } from "./zone.ts";

/** Celery's own entry, if the result store needs it: deletes expired results at four o'clock. */
const CLEANUP = "celery.backend_cleanup";
const CLEANUP_EXPIRES = 12 * 3600;
/** Result stores that expire results themselves. */
const EXPIRING = /^(redis|rediss|sentinel|rpc|disabled|memory)\b/;
/** The namespace of task ids of runs: UUIDv5 of "https://lovage.invalid/beat" as a URL. */
const NAMESPACE = "8b6d2a7e0f5c5a1fb3c49e71d2f80a64";

/** Shared by the entries that have none of their own. */
const NO_ARGS: readonly unknown[] = [];
const NO_KWARGS: Readonly<Record<string, unknown>> = {};
const NO_OPTIONS: SendOptions = {};
const NO_STATE: RunState = { lastMs: 0, count: 0, taskId: null, sendingMs: null };

const INTERVAL_NAMES = namesOf<IntervalSchedule>({ kind: true, seconds: true, relative: true });
const SOLAR_NAMES = namesOf<SolarSchedule>({ kind: true, event: true, latitude: true, longitude: true });

/** Which missed runs are sent. */
export type CatchUp = "latest" | "all" | "none";

/** An entry of the schedule. */
export class Entry {
  readonly name: string;
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: SendOptions;
  readonly timing: Timing;
  readonly zone: Zone;
  readonly catchUp: CatchUp;
  /** False: a run is skipped if the last one has not ended. */
  readonly mayOverlap: boolean;
  /** The state of its runs. */
  state: RunState = NO_STATE;
  /** The broker's record of the entry as last read or written; null: none. */
  record: string | null = null;
  /** When it is due; Infinity: never. */
  dueMs = Infinity;
  /** True while missed runs are sent one by one. */
  isCatchingUp = false;

  /** Throws UsageError if the entry cannot be read. */
  constructor(name: string, given: BeatEntry, zone: Zone) {
    if (typeof given !== "object" || given === null) throw new UsageError("an object is expected");
    refuseUnknownKey(given);
    const { task, args = NO_ARGS, kwargs = NO_KWARGS, options } = given;
    this.name = name;
    this.task = taskName(task);
    if (!Array.isArray(args)) throw new UsageError(`args must be a list: ${shownJson(args)}`);
    if (!isRecord(kwargs)) throw new UsageError(`kwargs must be an object: ${shownJson(kwargs)}`);
    if (options !== undefined && !isRecord(options)) {
      throw new UsageError(`options must be an object: ${shownJson(options)}`);
    }
    this.args = args;
    this.kwargs = kwargs;
    this.options = options === undefined ? NO_OPTIONS : camelOptions(options, "its calls");
    checkSendOptions(this.task, this.options);
    this.zone = typeof given.timezone === "string" ? Zone.of(given.timezone) : zone;
    this.timing = timingOf(given, this.zone);
    this.catchUp = catchUpOf(given.catchUp);
    this.mayOverlap = overlapOf(given.overlap);
  }

  /** The entry's key in the broker's ledger. If its task changes, it is another entry. */
  get key(): string {
    return `${this.name}\n${this.task}`;
  }

  /** The entry as Celery prints it. */
  get repr(): string {
    const call = [
      ...this.args.map((one) => pythonRepr(one)),
      ...Object.entries(this.kwargs).map(([key, value]) => `${key}=${pythonRepr(value)}`),
    ].join(", ");
    return `<ScheduleEntry: ${this.name} ${this.task}(${call}) ${this.timing.repr}`;
  }

  /** Returns the task id of a run. Every beat that sends this run uses the same id. */
  taskIdOf(app: string, dueMs: number): string {
    const { taskId } = this.options;
    if (typeof taskId === "string") return taskId;
    return uuid5(`${app}\n${this.key}\n${dueMs}\n${this.state.count}`);
  }
}

/**
 * Returns the entries of an App's schedule, with Celery's own. Rejects with UsageError that names the entry
 * which cannot be read.
 */
export async function readEntries(app: App): Promise<Map<string, Entry>> {
  const { conf } = app;
  const zone = scheduleZone(app);
  const given = conf.beat_schedule;
  const names = Object.keys(given);
  const cleanup: BeatEntry = {
    task: CLEANUP,
    schedule: crontab({ minute: "0", hour: "4" }),
    options: { expires: CLEANUP_EXPIRES },
  };
  if (conf.result_expires && !Object.hasOwn(given, CLEANUP) && await needsCleanup(app)) names.push(CLEANUP);
  if (names.some((name) => isSolar(given[name]))) await loadAstronomy();
  const entries = new Map<string, Entry>();
  for (const name of names) {
    const entry = Object.hasOwn(given, name) ? given[name]! : cleanup;
    try {
      entries.set(name, new Entry(name, entry, zone));
    } catch (error) {
      throw new UsageError(`Cannot use entry "${name}" of beat_schedule: ${errorText(error)}`, {
        cause: error,
      });
    }
  }
  return entries;
}

/** Returns the zone of crontabs: `timezone`, else UTC, or local time if `enable_utc` is off. */
function scheduleZone(app: App): Zone {
  const { timezone, enable_utc } = app.conf;
  return timezone ? Zone.of(timezone) : enable_utc ? Zone.of("UTC") : Zone.local();
}

/** Returns a text that is equal for schedules with the same entries and times. */
export function fingerprint(entries: Iterable<Entry>): string {
  const hash = createHash("sha256");
  for (const entry of [...entries].sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0)) {
    hash.update(`${entry.key}\n${entry.timing.repr}\n${entry.zone.name}\n\n`);
  }
  return hash.digest("hex").slice(0, 16);
}

/** Throws UsageError for an unknown key of an entry. */
function refuseUnknownKey(given: BeatEntry): void {
  for (const key of Object.keys(given)) {
    if (BEAT_ENTRY_NAMES.has(key)) continue;
    if (isSendOption(key)) throw new UsageError(`"${key}" is an option of its calls: put it into "options"`);
    throw unknownName(key, BEAT_ENTRY_NAMES, "an entry");
  }
}

function isSendOption(key: string): boolean {
  try {
    camelOptions({ [key]: null }, "");
    return true;
  } catch {
    return false;
  }
}

function isSolar(given: BeatEntry | undefined): boolean {
  return (given?.schedule as { kind?: unknown } | undefined)?.kind === "solar";
}

async function needsCleanup(app: App): Promise<boolean> {
  const url = app.conf.result_backend;
  if (!url || EXPIRING.test(url)) return false;
  const backend = await app.openBackend();
  return !backend.expiresByItself && backend.kind !== "disabled";
}

function taskName(task: unknown): string {
  const name = typeof task === "function" || typeof task === "object"
    ? (task as { name?: unknown } | null)?.name
    : task;
  if (typeof name !== "string" || name === "") throw new UsageError("it has no task name");
  return name;
}

function timingOf({ schedule, relative }: BeatEntry, zone: Zone): Timing {
  const isRelative = relative ?? false;
  if (typeof schedule === "number") return new Interval(schedule, isRelative, zone);
  if (typeof schedule === "string") {
    if (/^\s*p/i.test(schedule)) return new Interval(isoDurationSeconds(schedule), isRelative, zone);
    return new Crontab(crontabOfText(schedule), zone);
  }
  if (schedule === undefined) throw new UsageError("it has no schedule");
  if (!isRecord(schedule)) {
    throw new UsageError(
      `schedule must be seconds, a string, a crontab or a solar event: ${shownJson(schedule)}`,
    );
  }
  const { kind } = schedule as { kind?: unknown };
  if (kind === "interval") {
    refuseUnknown(schedule, INTERVAL_NAMES, "an interval");
    const { seconds, relative: own } = schedule as { seconds: number; relative: boolean };
    return new Interval(seconds, own || isRelative, zone);
  }
  if (kind === "solar") refuseUnknown(schedule, SOLAR_NAMES, "a solar event");
  if (kind === "solar") return new Solar(schedule as ConstructorParameters<typeof Solar>[0]);
  if (kind !== undefined && kind !== "crontab") {
    throw new UsageError(
      `schedule has the unknown kind ${shownJson(kind)}: use crontab, interval or solar`,
    );
  }
  // From JSON or TOML: only the fields.
  const { kind: _, ...fields } = schedule as Record<string, unknown>;
  // A Date, a Map and the like have no fields, and would be due every minute.
  if (kind === undefined && Object.keys(fields).length === 0) {
    throw new UsageError("schedule names no field of a crontab: every minute is crontab()");
  }
  return new Crontab(crontab(fields as CrontabFields), zone);
}

function catchUpOf(given: unknown): CatchUp {
  if (given === undefined || given === null || given === true || given === "latest" || given === "last") {
    return "latest";
  }
  if (given === "all") return "all";
  if (given === false || given === "none") return "none";
  throw new UsageError(`catchUp must be latest, all or none: ${shownJson(given)}`);
}

function overlapOf(given: unknown): boolean {
  if (given === undefined || given === null || given === true || given === "allow") return true;
  if (given === false || given === "skip") return false;
  throw new UsageError(`overlap must be allow or skip: ${shownJson(given)}`);
}

/** Returns a name-based UUID, version 5. Source: RFC 9562 5.5. */
function uuid5(name: string): string {
  const hash = createHash("sha1").update(NAMESPACE, "hex").update(name).digest();
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    "-",
  );
}
