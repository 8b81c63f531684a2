/**
 * Publishes the runs that are due: through the broker's ledger if it has one and beats elect a leader, else
 * as plain messages.
 *
 * Source: celery 5.2.6 beat.py Scheduler.apply_async, apply_entry (options, texts).
 */

import { type App, areTuple, declareTargets, type PreparedSend, type SendOptions } from "../app/mod.ts";
import { errorText, type Log } from "../base/mod.ts";
import { type Connection, type LedgerEntry, PublishError } from "../transport/mod.ts";
import { pythonRepr, READY_STATES } from "../wire/mod.ts";
import type { BeatLeadership } from "./leadership.ts";
import type { Entry } from "./entry.ts";
import type { DueRun, Scheduler } from "./scheduler.ts";
import { decodeState, encodeState, type RunState } from "./store.ts";

/** The result of a batch of runs. */
export interface Sent {
  /** False: another beat leads; nothing was sent, and the entries are scheduled again. */
  readonly isLeader: boolean;
  /** States to be saved, by entry name. */
  readonly states: ReadonlyMap<string, RunState>;
}

/** A run with its message. */
interface Call {
  readonly run: DueRun;
  /** Null: nothing is published, only the state changes. */
  readonly prepared: PreparedSend | null;
  readonly state: RunState;
}

/** Sends the runs of one beat. */
export class BeatPublisher {
  readonly #app: App;
  readonly #scheduler: Scheduler;
  readonly #log: Log;
  #connection: Connection | null = null;
  #declared = new Set<string>();
  #isNoStoreLogged = false;
  /** Number of tasks published. */
  sent = 0;
  /** How long after its due time the last task was published, milliseconds. */
  lagMs = 0;

  constructor(app: App, scheduler: Scheduler, log: Log) {
    this.#log = log;
    this.#app = app;
    this.#scheduler = scheduler;
  }

  /**
   * Sends runs that the scheduler gave. When it settles, all their entries are scheduled again. Rejects with
   * an operating error if the broker could not be reached: then no run counts as sent, and the same runs come
   * again.
   *
   * Without a ledger, `beforeSend` is awaited before anything is published, to save the states of the runs
   * under way.
   */
  async send(
    runs: readonly DueRun[],
    options: {
      readonly connection: Connection;
      readonly leadership: BeatLeadership | null;
      /** Milliseconds until another entry is due. */
      idleMs(): number;
      beforeSend(states: ReadonlyMap<string, RunState>): Promise<void>;
    },
  ): Promise<Sent> {
    const log = this.#log;
    const unsettled = new Set(runs.map(({ entry }) => entry));
    try {
      const calls: Call[] = [];
      for (const run of runs) calls.push(await this.#prepare(run));
      for (const { run: { entry, skipped }, prepared } of calls) {
        if (prepared) log.info(`Scheduler: Sending due task ${entry.name} (${entry.task})`);
        else if (skipped !== null) {
          log.info(`Scheduler: Skipping due task ${entry.name} (${entry.task}): ${skipped}`);
        }
      }
      const batch = calls.flatMap(({ prepared }) => prepared ? [prepared.outgoing] : []);
      await this.#declare(options.connection, batch);
      const { ledger } = options.connection;
      const states = new Map<string, RunState>();
      const settle = ({ run }: Call, state: RunState) => {
        unsettled.delete(run.entry);
        this.#scheduler.settle(run, state);
        states.set(run.entry.name, state);
      };
      if (options.leadership && ledger) {
        const idleMs = this.#idleMs(calls, options.idleMs());
        const found = await options.leadership.commit(ledger, calls.map(ledgerEntry), idleMs);
        if (found === null) return { isLeader: false, states };
        const published: Call[] = [];
        calls.forEach((call, n) => {
          const conflicting = found[n] ?? null;
          const ours = encodeState(call.state);
          const theirs = conflicting === null || conflicting === ours ? null : decodeState(conflicting);
          call.run.entry.record = theirs ? conflicting : ours;
          if (!theirs) published.push(call);
          else log.debug(`Scheduler: ${call.run.entry.name} was sent by another beat`);
          settle(call, theirs ?? call.state);
        });
        await this.#deliver(published);
      } else {
        await options.beforeSend(
          new Map(
            calls.map(({ run }) => [run.entry.name, { ...run.entry.state, sendingMs: run.dueMs }]),
          ),
        );
        const unsent = await this.#publish(options.connection, batch);
        for (const call of calls) settle(call, call.state);
        for (const { run, prepared } of calls) {
          if (prepared === null || !unsent?.unpublished.includes(prepared.outgoing)) continue;
          log.error(couldNotApply(run.entry, unsent));
        }
        await this.#deliver(
          unsent === null
            ? calls
            : calls.filter(({ prepared }) => !prepared || !unsent.unpublished.includes(prepared.outgoing)),
        );
      }
      return { isLeader: true, states };
    } finally {
      for (const entry of unsettled) this.#scheduler.putBack(entry);
    }
  }

  /** Makes the message of a run. If that fails, the error is logged and the run is lost, as in Celery. */
  async #prepare(run: DueRun): Promise<Call> {
    const { entry, after } = run;
    if (run.skipped !== null) return { run, prepared: null, state: after };
    const running = entry.mayOverlap ? null : await this.#running(entry);
    if (running !== null) {
      const skipped = `its last run ${running} has not ended`;
      const state = { ...after, count: entry.state.count };
      return { run: { ...run, skipped }, prepared: null, state };
    }
    try {
      const args = entry.args.map(evaluated);
      const kwargs = Object.fromEntries(
        Object.entries(entry.kwargs).map(([key, value]) => [key, evaluated(value)]),
      );
      const own = this.#app.tasks.get(entry.task)?.sendOptions ?? {};
      const options: SendOptions = {
        ...own,
        ...entry.options,
        taskId: entry.taskIdOf(this.#app.name, run.dueMs),
        // Arguments given as a list are shown as Celery shows them.
        argsrepr: entry.options.argsrepr ?? own.argsrepr ??
          (args.length > 0 && !areTuple(entry.args) ? pythonRepr(args) : null),
      };
      await this.#app.readyToSend(options);
      const prepared = this.#app.prepareSend({ name: entry.task, args, kwargs, options });
      return { run, prepared, state: { ...after, taskId: prepared.taskId } };
    } catch (error) {
      this.#log.error(couldNotApply(entry, error));
      return { run, prepared: null, state: after };
    }
  }

  /**
   * Publishes messages. Resolves with the error for those that could not be sent: their runs are lost, because they
   * can never be sent, or because sending the batch again would send the others twice. Null: all were sent. Rejects
   * if nothing was sent and a retry may succeed.
   */
  async #publish(
    connection: Connection,
    batch: readonly PreparedSend["outgoing"][],
  ): Promise<PublishError | null> {
    try {
      if (batch.length > 0) await connection.publish(batch);
      return null;
    } catch (error) {
      if (!(error instanceof PublishError)) throw error;
      if (error.isRetryable && error.unpublished.length === batch.length) throw error;
      return error;
    }
  }

  /** Returns the id of the last run if it has not ended. */
  async #running(entry: Entry): Promise<string | null> {
    const { taskId } = entry.state;
    if (taskId === null) return null;
    const { conf, world } = this.#app;
    const backend = await this.#app.openBackend();
    if (backend.kind === "disabled") {
      if (!this.#isNoStoreLogged) {
        this.#isNoStoreLogged = true;
        this.#log.warning(
          `beat: overlap "skip" of ${entry.name} has no effect: it needs a result store (result_backend)`,
        );
      }
      return null;
    }
    const meta = await backend.fetch(taskId);
    if (meta !== null && READY_STATES.has(meta.state)) return null;
    // If its result never comes, or has expired, it must not block the entry for ever.
    const heldMs = (conf.result_expires || 86_400) * 1000;
    return world.clock.wallMs() - entry.state.lastMs > heldMs ? null : taskId;
  }

  async #declare(connection: Connection, batch: readonly PreparedSend["outgoing"][]): Promise<void> {
    if (this.#connection !== connection) {
      this.#connection = connection;
      this.#declared = new Set();
    }
    await declareTargets(this.#app, connection, batch, { declared: this.#declared });
  }

  /** Returns milliseconds until the next run of all entries, these included. */
  #idleMs(calls: readonly Call[], othersMs: number): number {
    const now = this.#app.world.clock.wallMs();
    let least = othersMs;
    for (const { run, state } of calls) {
      const next = run.entry.timing.next(state.lastMs);
      if (next !== null) least = Math.min(least, Math.max(0, next - now));
    }
    return least;
  }

  async #deliver(calls: readonly Call[]): Promise<void> {
    const { clock } = this.#app.world;
    const log = this.#log;
    for (const { run, prepared } of calls) {
      if (prepared === null) continue;
      this.sent++;
      this.lagMs = Math.max(0, clock.wallMs() - run.dueMs);
    }
    const published = calls.flatMap(({ prepared }) => prepared ? [prepared] : []);
    if (log.isOn("DEBUG")) {
      for (const { run: { entry }, prepared } of calls) {
        if (prepared) log.debug(`${entry.task} sent. id->${prepared.taskId}`);
      }
    }
    try {
      await this.#app.announcePublished(published);
    } catch (error) {
      log.warning(`beat: Cannot send task-sent events: ${errorText(error)}`);
    }
  }
}

function couldNotApply(entry: Entry, error: unknown): string {
  return `Message Error: Couldn't apply scheduled task ${entry.name}: ${errorText(error)}`;
}

function ledgerEntry({ run, prepared, state }: Call): LedgerEntry {
  return {
    key: run.entry.key,
    expected: run.entry.record,
    value: encodeState(state),
    message: prepared?.outgoing ?? null,
  };
}

/** Calls an argument that is a function, for each run. Source: celery 5.2.6 beat.py BeatLazyFunc. */
function evaluated(value: unknown): unknown {
  return typeof value === "function" ? (value as () => unknown)() : value;
}
