/**
 * The beat service: sleeps until an entry is due, sends its task, and records what was sent.
 *
 * It is one loop. A turn sends all that is due and returns how long to sleep, at most
 * `beat_max_loop_interval`. After each sleep the loop checks whether the clock was set or the process was
 * stalled meanwhile.
 *
 * Source: celery 5.2.6 beat.py Service.start, Scheduler.tick (texts, intervals, order); protocol.md 9.2,
 * 10.4.
 */

import { type App, isWorthRetrying, mayBeTemporary, signals } from "../app/mod.ts";
import { assert, errorText, humanizeSeconds, logFrom, OperatingError, type World } from "../base/mod.ts";
import type { Connection } from "../transport/mod.ts";
import { BeatPublisher } from "./publisher.ts";
import { BeatLeadership } from "./leadership.ts";
import { type Entry, fingerprint, readEntries } from "./entry.ts";
import { Scheduler, usableState } from "./scheduler.ts";
import { decodeState, encodeState, type RunState, type ScheduleStore } from "./store.ts";

/** The longest sleep if no setting gives one, seconds. */
const MAX_INTERVAL_SECONDS = 300;

/** Options of a beat. */
export interface BeatOptions {
  /** Seconds; null: `beat_max_loop_interval`, else 300. */
  readonly maxInterval?: number | null;
  readonly store: ScheduleStore;
  /** True inside a worker (`worker -B`). */
  readonly isEmbedded?: boolean;
}

/** Statistics of a beat. */
export interface BeatFigures {
  /** True once its schedule is loaded. */
  readonly isRunning: boolean;
  /** True if this beat sends; false if it stands by or has not begun. */
  readonly isLeader: boolean;
  /** True if the last attempt to reach the broker failed. */
  readonly isBrokerAway: boolean;
  readonly entries: number;
  /** Tasks sent since the start. */
  readonly sent: number;
  /** How late the last sent task was. */
  readonly lagSeconds: number;
}

/** Runs in one publish at most. */
const BATCH_MAX = 100;
/**
 * Difference of wall and monotonic clock that is logged, and delay of a wake-up that is logged, milliseconds.
 */
const JUMP_MS = 1000;
const HELD_UP_MS = 5000;
/** Between two syncs that are logged, as in Celery. */
const SYNC_MS = 180_000;
/** Between two checks whether the number of names in the schedule object has changed. */
const COUNT_MS = 10_000;
/** Seconds to wait after a failed publish: the first wait, and the longest. */
const RETRY_FIRST = 2;
const RETRY_MAX = 30;
/** How long the end of beat waits for a publish under way, milliseconds. */
const END_WAIT_MS = 5000;
/** Records of entries that left the schedule are deleted if nothing was sent for them for so long. */
const FORGET_MS = 35 * 86_400_000;

/** A beat. `run` may be called once. */
export class Beat {
  readonly app: App;
  readonly maxIntervalMs: number;
  readonly scheduler: Scheduler;
  readonly #store: ScheduleStore;
  readonly #isEmbedded: boolean;
  readonly #world: World;
  readonly #publisher: BeatPublisher;
  #leadership: BeatLeadership | null = null;
  #connection: Connection | null = null;
  /** True once the broker has accepted us: if it refuses later, that may pass. */
  #wasConnected = false;
  #seen = { conf: null as unknown, names: 0, countedMs: 0 };
  #isSaveFailing = false;
  #unsaved = new Map<string, RunState | null>();
  #syncedMs = -Infinity;
  #sentSinceSync = 0;
  #retries = 0;
  #isStandby = false;
  #isNoLedgerLogged = false;
  #isLoaded = false;
  #isBrokerAway = false;
  #hasRun = false;
  /** True if the store has states of an earlier beat: an entry missing there is new and counts from now. */
  #hasPast = false;

  constructor(app: App, options: BeatOptions) {
    const { conf } = app;
    this.app = app;
    this.maxIntervalMs = 1000 *
      (options.maxInterval || conf.beat_max_loop_interval || MAX_INTERVAL_SECONDS);
    this.scheduler = new Scheduler({ deadlineSeconds: conf.beat_cron_starting_deadline });
    this.#store = options.store;
    this.#isEmbedded = options.isEmbedded ?? false;
    // In Celery, embedded beat is a process of its own; its log lines show that.
    const process = this.#isEmbedded ? { process: "Beat" } : {};
    this.#world = { ...app.world, log: logFrom(app.world.log, { logger: "celery.beat", ...process }) };
    this.#publisher = new BeatPublisher(app, this.scheduler, this.#world.log);
  }

  /** True while another beat sends for this schedule. */
  get isStandby(): boolean {
    return this.#isStandby;
  }

  /** Its statistics, as plain numbers. */
  get figures(): BeatFigures {
    const { sent, lagMs } = this.#publisher;
    return {
      isRunning: this.#isLoaded,
      isLeader: this.#isLoaded && !this.#isStandby,
      isBrokerAway: this.#isBrokerAway,
      entries: this.scheduler.entries.size,
      sent,
      lagSeconds: lagMs / 1000,
    };
  }

  /**
   * Runs until `signal` aborts, then saves, releases the lease and resolves. Rejects with UsageError if the
   * schedule cannot be read, with the broker's error if it is not reached after all retries.
   */
  async run(signal: AbortSignal): Promise<void> {
    assert(!this.#hasRun, "a beat runs once");
    this.#hasRun = true;
    const world = this.#world;
    world.log.info("beat: Starting...");
    const ended = new AbortController();
    // A broker that accepts nothing must not keep beat from ending: the next beat sends what is under way.
    const onAbort = () => {
      world.clock.sleep(END_WAIT_MS, ended.signal).then(() => this.#disconnect(), () => {});
    };
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await this.#load();
      this.#isLoaded = true;
      world.log.debug(
        `beat: Ticking with max interval->${humanizeSeconds(this.maxIntervalMs / 1000)}`,
      );
      signals.beatInit.send(this, {}, world.log);
      if (this.#isEmbedded) signals.beatEmbeddedInit.send(this, {}, world.log);
      await this.#loop(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await this.#end();
      signal.removeEventListener("abort", onAbort);
      ended.abort();
    }
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#world;
    while (!signal.aborted) {
      const sleepMs = Math.min(await this.#turn(signal), this.maxIntervalMs);
      if (signal.aborted) return;
      if (sleepMs <= 0) continue;
      if (log.isOn("DEBUG")) log.debug(`beat: Waking up ${humanizeSeconds(sleepMs / 1000, "in ")}.`);
      const before = { monoMs: clock.monoMs(), wallMs: clock.wallMs() };
      await clock.sleep(sleepMs, signal);
      this.#checkClocks(before, sleepMs);
    }
  }

  /** Runs one turn: sends all that is due. Returns milliseconds until the next turn. */
  async #turn(signal: AbortSignal): Promise<number> {
    const { clock, log } = this.#world;
    try {
      await this.#reload();
      const { beat_lock } = this.app.conf;
      if (beat_lock) {
        const askAgainMs = await this.#lead(signal);
        if (askAgainMs !== null) return askAgainMs;
      }
      while (!signal.aborted) {
        const runs = this.scheduler.take(clock.wallMs(), BATCH_MAX);
        if (runs.length === 0) break;
        let connection: Connection;
        try {
          connection = await this.#connected(signal);
        } catch (error) {
          for (const { entry } of runs) this.scheduler.putBack(entry);
          throw error;
        }
        const { isLeader, states } = await this.#publisher.send(runs, {
          connection,
          leadership: beat_lock && connection.ledger ? this.#leadership : null,
          idleMs: () => this.#idleMs(),
          beforeSend: (all) => this.#save(all, false),
        });
        await this.#save(states, true);
        if (!isLeader) return 0;
      }
      this.#retries = 0;
      return Math.max(0, this.scheduler.nextMs - clock.wallMs());
    } catch (error) {
      const mayBeTaken = isWorthRetrying(error) || (this.#wasConnected && mayBeTemporary(error));
      if (signal.aborted || !mayBeTaken) throw error;
      const seconds = Math.min(RETRY_FIRST * ++this.#retries, RETRY_MAX);
      log.error(
        `beat: Connection error: ${errorText(error)}. Trying again in ${seconds.toFixed(1)} seconds...`,
      );
      this.#isBrokerAway = true;
      await this.#disconnect();
      return seconds * 1000;
    }
  }

  /**
   * Takes or renews the lead. Returns null if this beat leads, else milliseconds until it should ask again.
   */
  async #lead(signal: AbortSignal): Promise<number | null> {
    const { log } = this.#world;
    const connection = await this.#connected(signal);
    const { ledger } = connection;
    if (!ledger) {
      if (!this.#isNoLedgerLogged) {
        this.#isNoLedgerLogged = true;
        log.info(`beat: This broker (${connection.transport}) cannot elect a leader: run one beat only`);
      }
      return null;
    }
    const leadership = this.#leadership!;
    const { token } = leadership;
    // If a run is due, its commit renews the lease.
    if (token > 0 && this.#idleMs() === 0) return null;
    const askAgainMs = await leadership.lead(ledger, this.#idleMs());
    if (askAgainMs !== null) {
      if (!this.#isStandby) log.info("beat: Another beat sends for this schedule: standing by");
      this.#isStandby = true;
      return askAgainMs;
    }
    if (leadership.token !== token) {
      if (this.#isStandby) log.info("beat: Taking over: no other beat sends for this schedule");
      this.#isStandby = false;
      await this.#readRecords(connection);
    }
    return null;
  }

  /** Takes over the records of earlier beats, and records entries that are new. */
  async #readRecords(connection: Connection): Promise<void> {
    const ledger = connection.ledger!;
    const leadership = this.#leadership!;
    const records = await ledger.records(leadership.namespace);
    const now = this.#world.clock.wallMs();
    const entries = [...this.scheduler.entries.values()];
    const takenOver = new Map<string, RunState>();
    const takeOver = (entry: Entry, text: string) => {
      // The record is our own last one: a change of the state since then (after a set clock) stays.
      if (entry.record === text) return;
      entry.record = text;
      const state = decodeState(text);
      if (state === null) return;
      // An entry unknown to the store takes the broker's record. Otherwise the later run counts.
      const isUnknownHere = entry.state.count === 0 && !this.#hasPast;
      if (state.lastMs <= entry.state.lastMs && !isUnknownHere) return;
      entry.state = usableState(entry, state, now);
      takenOver.set(entry.name, entry.state);
    };
    const missing: Entry[] = [];
    for (const entry of entries) {
      const text = records.get(entry.key);
      if (text !== undefined) takeOver(entry, text);
      else {
        entry.record = null;
        missing.push(entry);
      }
    }
    const found = await leadership.commit(
      ledger,
      missing.map((entry) => ({
        key: entry.key,
        expected: null,
        value: encodeState(entry.state),
        message: null,
      })),
      this.#idleMs(),
    );
    missing.forEach((entry, n) => {
      const conflicting = found?.[n] ?? null;
      if (conflicting !== null) takeOver(entry, conflicting);
      else if (found !== null) entry.record = encodeState(entry.state);
    });
    this.scheduler.refresh();
    await this.#save(takenOver, false);
    const known = new Set(entries.map((entry) => entry.key));
    const stale = [...records].filter(([key, text]) =>
      !known.has(key) && (decodeState(text)?.lastMs ?? 0) < now - FORGET_MS
    );
    if (stale.length > 0) await ledger.forget(leadership.namespace, stale.map(([key]) => key));
  }

  /**
   * Reads the schedule and merges the stored states. Source: celery 5.2.6 beat.py merge_inplace,
   * setup_schedule.
   */
  async #load(): Promise<void> {
    const { clock, log } = this.#world;
    const entries = await readEntries(this.app);
    const kept = await this.#store.load();
    this.#hasPast = kept.size > 0;
    this.#remember();
    const changes = new Map<string, RunState | null>();
    for (const name of kept.keys()) if (!entries.has(name)) changes.set(name, null);
    const now = clock.wallMs();
    this.scheduler.replace(entries, (entry) => {
      const state = kept.get(entry.name);
      if (!state) return null;
      if (state.sendingMs !== null) {
        log.warning(
          `beat: ${entry.name} was being sent when the last beat ended: it is sent again under the same id ` +
            entry.taskIdOf(this.app.name, state.sendingMs),
        );
      }
      const usable = usableState(entry, { ...state, sendingMs: null }, now);
      if (usable.lastMs !== state.lastMs) {
        log.warning(
          `beat: The last run of ${entry.name} lies in the future (${entry.zone.format(state.lastMs)}): ` +
            "the clock was wrong then; it counts from now",
        );
      }
      return usable;
    }, now);
    for (const entry of entries.values()) if (!kept.has(entry.name)) changes.set(entry.name, entry.state);
    this.#leadership = this.#leadershipOf(entries);
    await this.#save(changes, false);
    if (log.isOn("DEBUG")) {
      log.debug(["Current schedule:", ...[...entries.values()].map((entry) => entry.repr)].join("\n"));
    }
  }

  /** Takes over entries that were added, changed or removed while beat runs. */
  async #reload(): Promise<void> {
    const { conf } = this.app;
    const schedule = conf.beat_schedule;
    if (schedule === this.#seen.conf) {
      // Counting ten thousand names costs more than a turn, so entries added to the object are noticed later.
      const now = this.#world.clock.monoMs();
      if (now - this.#seen.countedMs < COUNT_MS) return;
      this.#seen.countedMs = now;
      if (Object.keys(schedule).length === this.#seen.names) return;
    }
    const before = new Map(this.scheduler.entries);
    const entries = await readEntries(this.app);
    this.#remember();
    this.scheduler.replace(
      entries,
      (entry) => before.get(entry.name)?.state ?? null,
      this.#world.clock.wallMs(),
    );
    const changes = new Map<string, RunState | null>();
    for (const name of before.keys()) if (!entries.has(name)) changes.set(name, null);
    for (const [name, entry] of entries) {
      const old = before.get(name);
      if (!old) changes.set(name, entry.state);
      else if (old.key === entry.key) entry.record = old.record;
    }
    // A changed schedule has a lease of its own; beats that have the old one keep theirs.
    if (this.#connection?.ledger) await this.#leadership!.resign(this.#connection.ledger);
    this.#leadership = this.#leadershipOf(entries);
    await this.#save(changes, false);
  }

  #leadershipOf(entries: ReadonlyMap<string, Entry>): BeatLeadership {
    const { owner } = this.#store;
    const { hostname: host } = this.#world.host;
    return new BeatLeadership(this.app.name, { schedule: fingerprint(entries.values()), owner, host });
  }

  #remember(): void {
    const schedule = this.app.conf.beat_schedule;
    const countedMs = this.#world.clock.monoMs();
    this.#seen = { conf: schedule, names: Object.keys(schedule).length, countedMs };
  }

  /** Saves states. If the disk refuses, that is logged once, and they are saved with the next. */
  async #save(states: ReadonlyMap<string, RunState | null>, areSent: boolean): Promise<void> {
    const { clock, log } = this.#world;
    for (const [name, state] of states) this.#unsaved.set(name, state);
    if (areSent) {
      this.#sentSinceSync += states.size;
      const every = this.app.conf.beat_sync_every;
      if (clock.monoMs() - this.#syncedMs > SYNC_MS || (every > 0 && this.#sentSinceSync >= every)) {
        this.#syncedMs = clock.monoMs();
        this.#sentSinceSync = 0;
        log.debug("beat: Synchronizing schedule...");
      }
    }
    if (this.#unsaved.size === 0) return;
    try {
      await this.#store.save(this.#unsaved);
      this.#unsaved.clear();
      if (this.#isSaveFailing) log.info("beat: The schedule file is written again");
      this.#isSaveFailing = false;
    } catch (error) {
      if (!this.#isSaveFailing) {
        log.error(
          `beat: ${
            errorText(error)
          }: beat goes on, and runs sent from now on may be sent again after a restart`,
        );
      }
      this.#isSaveFailing = true;
    }
  }

  #checkClocks(before: { monoMs: number; wallMs: number }, sleepMs: number): void {
    const { clock, log } = this.#world;
    const passedMs = clock.monoMs() - before.monoMs;
    const jumpMs = clock.wallMs() - before.wallMs - passedMs;
    const amount = humanizeSeconds(Math.abs(jumpMs) / 1000);
    if (jumpMs >= JUMP_MS) {
      log.warning(
        `beat: The clock went forward by ${amount} (it was set, or the machine slept): ` +
          "missed runs are made up for as their entries say",
      );
    } else if (jumpMs <= -JUMP_MS) {
      log.warning(
        `beat: The clock was set back by ${amount}: intervals go on, and no run of a crontab comes twice`,
      );
      this.scheduler.clockWasSet(jumpMs);
    }
    if (passedMs - sleepMs >= HELD_UP_MS) {
      log.warning(
        `beat: Held up for ${
          humanizeSeconds((passedMs - sleepMs) / 1000)
        } (the process was stopped, or the machine ` +
          "busy): missed runs are made up for as their entries say",
      );
    }
  }

  /** Returns milliseconds until the next run, at most the longest sleep. */
  #idleMs(): number {
    const { clock } = this.#world;
    return Math.min(Math.max(0, this.scheduler.nextMs - clock.wallMs()), this.maxIntervalMs);
  }

  async #connected(signal: AbortSignal): Promise<Connection> {
    if (this.#connection) return this.#connection;
    const { log } = this.#world;
    const connection = await this.app.connectBroker({
      forWriting: true,
      heartbeat: true,
      retry: true,
      isReconnect: this.#wasConnected,
      signal,
      onAttempt: (error, delaySeconds) => {
        this.#isBrokerAway = true;
        log.error(
          `beat: Connection error: ${errorText(error)}. Trying again in ${
            delaySeconds.toFixed(1)
          } seconds...`,
        );
      },
    });
    this.#isBrokerAway = false;
    this.#connection = connection;
    this.#wasConnected = true;
    connection.lost.then(() => {
      if (this.#connection === connection) this.#connection = null;
    });
    return connection;
  }

  async #disconnect(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    await connection?.close().catch(() => {
      // It is closed either way.
    });
  }

  async #end(): Promise<void> {
    const { log } = this.#world;
    await this.#save(new Map(), false);
    const ledger = this.#connection?.ledger;
    try {
      if (ledger) await this.#leadership?.resign(ledger);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      log.debug(`beat: Cannot release the lease: ${errorText(error)}`);
    }
    await this.#disconnect();
    await this.#store.close();
  }
}
