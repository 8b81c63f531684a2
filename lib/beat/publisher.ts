/**
 * Publishing what is due: over the broker's ledger, where it has one and beats elect one, else as any
 * message.
 *
 * Source: celery 5.2.6 beat.py Scheduler.apply_async, apply_entry (options, texts).
 */

import { type App, areTuple, declareWays, type PreparedSend, type SendOptions } from "../app/mod.ts";
import { errorText, type Log } from "../base/mod.ts";
import { type Connection, type LedgerEntry, PublishError } from "../transport/mod.ts";
import { pythonRepr, READY_STATES } from "../wire/mod.ts";
import type { BeatLeadership } from "./leadership.ts";
import type { Entry } from "./entry.ts";
import type { DueRun, Scheduler } from "./scheduler.ts";
import { decodeState, encodeState, type RunState } from "./store.ts";

/** What came of a batch of runs. */
export interface Sent {
  /** False: another beat leads; nothing was sent, and the runs are in line again. */
  readonly isLeader: boolean;
  /** States to be saved, by entry name. */
  readonly states: ReadonlyMap<string, RunState>;
}

/** One run on its way. */
interface Call {
  readonly slot: DueRun;
  /** Null: nothing is published, the state alone goes on. */
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
  #isStoreMissingTold = false;
  /** Tasks that were published. */
  sent = 0;
  /** How long after the moment of its schedule the last of them was published, milliseconds. */
  lagMs = 0;

  constructor(app: App, scheduler: Scheduler, log: Log) {
    this.#log = log;
    this.#app = app;
    this.#scheduler = scheduler;
  }

  /**
   * Sends runs that were taken; all their entries are in line again when it settles. Rejects with an
   * operating error where the broker could not be reached: then none of them counts as sent, and the same
   * runs come again.
   *
   * `beforeSend` is waited for before anything is published without a ledger: the states to keep meanwhile.
   */
  async send(
    slots: readonly DueRun[],
    way: {
      readonly connection: Connection;
      readonly leadership: BeatLeadership | null;
      /** Milliseconds until something else is due. */
      idleMs(): number;
      beforeSend(states: ReadonlyMap<string, RunState>): Promise<void>;
    },
  ): Promise<Sent> {
    const log = this.#log;
    const inHand = new Set(slots.map(({ entry }) => entry));
    try {
      const calls: Call[] = [];
      for (const slot of slots) calls.push(await this.#prepare(slot));
      for (const { slot: { entry, skipped }, prepared } of calls) {
        if (prepared) log.info(`Scheduler: Sending due task ${entry.name} (${entry.task})`);
        else if (skipped !== null) {
          log.info(`Scheduler: Skipping due task ${entry.name} (${entry.task}): ${skipped}`);
        }
      }
      const batch = calls.flatMap(({ prepared }) => prepared ? [prepared.outgoing] : []);
      await this.#declare(way.connection, batch);
      const { ledger } = way.connection;
      const states = new Map<string, RunState>();
      const settle = ({ slot }: Call, state: RunState) => {
        inHand.delete(slot.entry);
        this.#scheduler.settle(slot, state);
        states.set(slot.entry.name, state);
      };
      if (way.leadership && ledger) {
        const idleMs = this.#idleMs(calls, way.idleMs());
        const found = await way.leadership.commit(ledger, calls.map(ledgerEntry), idleMs);
        if (found === null) return { isLeader: false, states };
        const published: Call[] = [];
        calls.forEach((call, n) => {
          const inTheWay = found[n] ?? null;
          const ours = encodeState(call.state);
          const theirs = inTheWay === null || inTheWay === ours ? null : decodeState(inTheWay);
          call.slot.entry.record = theirs ? inTheWay : ours;
          if (!theirs) published.push(call);
          else log.debug(`Scheduler: ${call.slot.entry.name} was sent by another beat`);
          settle(call, theirs ?? call.state);
        });
        await this.#deliver(published);
      } else {
        await way.beforeSend(
          new Map(
            calls.map(({ slot }) => [slot.entry.name, { ...slot.entry.state, sendingMs: slot.slotMs }]),
          ),
        );
        const unsent = await this.#publish(way.connection, batch);
        for (const call of calls) settle(call, call.state);
        for (const { slot, prepared } of calls) {
          if (prepared === null || !unsent?.unpublished.includes(prepared.outgoing)) continue;
          log.error(couldNotApply(slot.entry, unsent));
        }
        await this.#deliver(
          unsent === null
            ? calls
            : calls.filter(({ prepared }) => !prepared || !unsent.unpublished.includes(prepared.outgoing)),
        );
      }
      return { isLeader: true, states };
    } finally {
      for (const entry of inHand) this.#scheduler.putBack(entry);
    }
  }

  /** The message of a run. What cannot be sent at all is told, and that run is lost, as with Celery. */
  async #prepare(slot: DueRun): Promise<Call> {
    const { entry, after } = slot;
    if (slot.skipped !== null) return { slot, prepared: null, state: after };
    const running = entry.mayOverlap ? null : await this.#running(entry);
    if (running !== null) {
      const skipped = `its last run ${running} has not ended`;
      const state = { ...after, count: entry.state.count };
      return { slot: { ...slot, skipped }, prepared: null, state };
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
        taskId: entry.taskIdOf(this.#app.name, slot.slotMs),
        // As Celery shows arguments that were given as a list.
        argsrepr: entry.options.argsrepr ?? own.argsrepr ??
          (args.length > 0 && !areTuple(entry.args) ? pythonRepr(args) : null),
      };
      await this.#app.readyToSend(options);
      const prepared = this.#app.prepareSend({ name: entry.task, args, kwargs, options });
      return { slot, prepared, state: { ...after, taskId: prepared.taskId } };
    } catch (error) {
      this.#log.error(couldNotApply(entry, error));
      return { slot, prepared: null, state: after };
    }
  }

  /**
   * What could not be sent, for good or while the rest was: those runs are lost, and do not come again beside runs
   * that were sent. Null: all was sent. Rejects where the same may be sent later.
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

  /** The id of the last run where it has not ended. */
  async #running(entry: Entry): Promise<string | null> {
    const { taskId } = entry.state;
    if (taskId === null) return null;
    const { conf, world } = this.#app;
    const backend = await this.#app.openBackend();
    if (backend.kind === "disabled") {
      if (!this.#isStoreMissingTold) {
        this.#isStoreMissingTold = true;
        this.#log.warning(
          `beat: overlap "skip" of ${entry.name} has no effect: it needs a result store (result_backend)`,
        );
      }
      return null;
    }
    const meta = await backend.fetch(taskId);
    if (meta !== null && READY_STATES.has(meta.state)) return null;
    // A result that never came, or is gone, must not hold an entry up for ever.
    const heldMs = (conf.result_expires || 86_400) * 1000;
    return world.clock.wallMs() - entry.state.lastMs > heldMs ? null : taskId;
  }

  async #declare(connection: Connection, batch: readonly PreparedSend["outgoing"][]): Promise<void> {
    if (this.#connection !== connection) {
      this.#connection = connection;
      this.#declared = new Set();
    }
    await declareWays(this.#app, connection, batch, { declared: this.#declared });
  }

  /** Milliseconds until the next run of all, with those of these entries. */
  #idleMs(calls: readonly Call[], othersMs: number): number {
    const now = this.#app.world.clock.wallMs();
    let least = othersMs;
    for (const { slot, state } of calls) {
      const next = slot.entry.timing.next(state.lastMs);
      if (next !== null) least = Math.min(least, Math.max(0, next - now));
    }
    return least;
  }

  async #deliver(calls: readonly Call[]): Promise<void> {
    const { clock } = this.#app.world;
    const log = this.#log;
    for (const { slot, prepared } of calls) {
      if (prepared === null) continue;
      this.sent++;
      this.lagMs = Math.max(0, clock.wallMs() - slot.slotMs);
    }
    const published = calls.flatMap(({ prepared }) => prepared ? [prepared] : []);
    if (log.isOn("DEBUG")) {
      for (const { slot: { entry }, prepared } of calls) {
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

function ledgerEntry({ slot, prepared, state }: Call): LedgerEntry {
  return {
    key: slot.entry.key,
    expected: slot.entry.record,
    value: encodeState(state),
    message: prepared?.outgoing ?? null,
  };
}

/** A function in place of an argument is called for each run. Source: celery 5.2.6 beat.py BeatLazyFunc. */
function evaluated(value: unknown): unknown {
  return typeof value === "function" ? (value as () => unknown)() : value;
}
