/**
 * What a worker keeps over restarts (`--statedb`, `worker_state_db`): revoked ids with their times, and the
 * Lamport clock.
 *
 * The file holds one CBOR document and is replaced as a whole, so that a crash never leaves half of it. It is
 * written when the worker stops and, so that a kill loses little, within a few seconds of a revoke. Times in
 * the file are of the wall clock, since the monotonic clock starts anew with the machine. If the file is
 * damaged, or is Celery's, it is renamed, one line is logged, and the worker starts with nothing remembered.
 * Any other file is left alone, and the worker does not start.
 *
 * Source: celery 5.2.6 worker/state.py Persistent, worker/components.py StateDB. The format is ours: Celery's
 * file is a shelf of pickles.
 */

import { type Deadline, errorText, UsageError } from "../base/mod.ts";
import { StartStopStep } from "../blueprint/mod.ts";
import { EXIT, readBytes, refuseSpecial, replaceBytes, setAside } from "../platform/mod.ts";
import { acceptedTypes, deserialize, loadSerializer, serialize } from "../wire/mod.ts";
import type { WorkerCore } from "./core.ts";

const SAVE_MS = 5000;
const VERSION = 1;
const CBOR = "application/cbor";
/** How our file begins: the head of a CBOR map, and its first key, a text of six bytes. */
const MARK = /^[\xa0-\xbf][^]{0,8}flovage/;
const MARK_BYTES_MAX = 16;
/** A key in Celery's file. Source: celery 5.2.6 worker/state.py Persistent. */
const CELERY_KEY = "zrevoked";

/** The content of the file. Times are seconds since the epoch. */
interface State {
  readonly lovage: typeof VERSION;
  readonly clock: number;
  readonly revoked: readonly (readonly [id: string, at: number])[];
}

/** The step. */
export class StateDbStep extends StartStopStep<WorkerCore> {
  readonly name = "StateDB";
  override readonly conditional = true;
  #path = "";
  #saved = -1;
  #look: Deadline | null = null;
  #saving: Promise<void> = Promise.resolve();

  override isIncluded(worker: WorkerCore): boolean {
    return Boolean(worker.options.statedb);
  }

  override async start(worker: WorkerCore): Promise<void> {
    const given = worker.expand(worker.options.statedb!);
    const path = given.startsWith("/") ? given : `${worker.world.host.cwd}/${given}`;
    refuseSpecial(path, "the state database");
    await loadSerializer(CBOR);
    this.#load(worker, path);
    // Only now is it certain that the file may be replaced; `stop` writes nothing before.
    this.#path = path;
    // Written at the start too, so that a file that cannot be written is reported while it can be mended.
    await replaceBytes(this.#path, this.#document(worker));
    this.#watch(worker);
  }

  override async stop(worker: WorkerCore): Promise<void> {
    worker.timers.disarm(this.#look);
    this.#look = null;
    if (this.#path === "") return;
    await this.#saving;
    worker.app.clock.forward();
    await this.#save(worker);
  }

  #watch(worker: WorkerCore): void {
    this.#look = worker.timers.armIn(SAVE_MS, () => {
      if (worker.revoked.changes !== this.#saved) this.#saving = this.#save(worker);
      this.#watch(worker);
    });
  }

  async #save(worker: WorkerCore): Promise<void> {
    try {
      await replaceBytes(this.#path, this.#document(worker));
    } catch (error) {
      worker.world.log.error(`Cannot save the state of this worker: ${errorText(error)}`);
    }
  }

  #document({ world, app, revoked }: WorkerCore): Uint8Array {
    this.#saved = revoked.changes;
    revoked.expire();
    const ahead = world.clock.wallMs() / 1000 - world.clock.monoMs() / 1000;
    const state: State = {
      lovage: VERSION,
      clock: app.clock.value,
      revoked: [...revoked.entries()].map(([id, at]) => [id, at + ahead] as const),
    };
    return serialize(state, "cbor").body as Uint8Array;
  }

  #load({ world, app, revoked }: WorkerCore, path: string): void {
    let state: State;
    const bytes = readBytes(path);
    if (bytes === null) return;
    if (!isReplaceable(bytes)) {
      throw new UsageError(
        `Cannot use "${path}" as the state database: it is not one; name another file, or move this one away`,
        { exitCode: EXIT.CANNOT_CREATE },
      );
    }
    try {
      state = checked(deserialize(bytes, CBOR, "binary", acceptedTypes(["cbor"])));
    } catch (error) {
      const aside = setAside(path, world.clock.wallMs());
      world.log.error(`Cannot read the state of this worker, set aside as "${aside}": ${errorText(error)}`);
      return;
    }
    app.clock.adjust(state.clock);
    const nowWall = world.clock.wallMs() / 1000;
    const nowMono = world.clock.monoMs() / 1000;
    const entries = state.revoked
      // If the clock was put back, a time may lie in the future: it counts as now.
      .map(([id, at]) => [id, nowMono - Math.max(0, nowWall - at)] as const)
      .filter(([, at]) => at > nowMono - revoked.limits.expiresSeconds);
    revoked.update(entries);
  }
}

/** Whether a file is a state of ours or of Celery, or what a crash leaves of one: cut off, or all zeros. */
function isReplaceable(bytes: Uint8Array): boolean {
  const text = new TextDecoder("latin1").decode(bytes);
  const isCut = bytes.length < MARK_BYTES_MAX && bytes.length > 0 && bytes[0]! >> 5 === 5;
  return MARK.test(text) || isCut || text.includes(CELERY_KEY) || bytes.every((byte) => byte === 0);
}

function checked(value: unknown): State {
  const state = value as State;
  const isState = value !== null && typeof value === "object" && state.lovage === VERSION &&
    Number.isSafeInteger(state.clock) && Array.isArray(state.revoked) &&
    state.revoked.every((one) => Array.isArray(one) && typeof one[0] === "string" && Number.isFinite(one[1]));
  if (!isState) throw new TypeError("it is not the state of a worker");
  return state;
}
