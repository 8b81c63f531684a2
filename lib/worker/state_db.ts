/**
 * What a worker remembers over restarts (`--statedb`, `worker_state_db`): revoked ids with their times, and the
 * Lamport clock.
 *
 * One CBOR document in one file, replaced as a whole, so that no crash leaves half of it. It is written when the
 * worker stops and, so that a kill loses little, a few seconds after something was revoked. Times are of the wall
 * clock in the file, since a monotonic one begins anew with the machine. A file that cannot be read is set aside
 * under another name, with one line, and the worker starts with nothing remembered.
 *
 * Source: celery 5.2.6 worker/state.py Persistent, worker/components.py StateDB. The file is ours: Celery's is a
 * shelf of pickles.
 */

import { type Deadline, errorText } from "../base/mod.ts";
import { StartStopStep } from "../blueprint/mod.ts";
import { readBytes, replaceBytes, setAside } from "../platform/mod.ts";
import { acceptedTypes, deserialize, loadSerializer, serialize } from "../wire/mod.ts";
import { REVOKE_EXPIRES_SECONDS } from "./revoked.ts";
import type { WorkController } from "./worker.ts";

const SAVE_MS = 5000;
const VERSION = 1;
const CBOR = "application/cbor";

/** What the file holds. Times are seconds since the epoch. */
interface State {
  readonly lovage: typeof VERSION;
  readonly clock: number;
  readonly revoked: readonly (readonly [id: string, at: number])[];
}

/** The step. */
export class StateDbStep extends StartStopStep<WorkController> {
  readonly name = "StateDB";
  override readonly conditional = true;
  #path = "";
  #saved = -1;
  #look: Deadline | null = null;
  #saving: Promise<void> = Promise.resolve();

  override isIncluded(worker: WorkController): boolean {
    return Boolean(worker.options.statedb);
  }

  override async start(worker: WorkController): Promise<void> {
    this.#path = worker.expand(worker.options.statedb!);
    if (!this.#path.startsWith("/")) this.#path = `${worker.world.host.cwd}/${this.#path}`;
    await loadSerializer(CBOR);
    this.#load(worker);
    // Now, not at the end: whoever cannot write there hears of it while it can be helped.
    await replaceBytes(this.#path, this.#document(worker));
    this.#watch(worker);
  }

  override async stop(worker: WorkController): Promise<void> {
    worker.timers.disarm(this.#look);
    this.#look = null;
    if (this.#path === "") return;
    await this.#saving;
    worker.app.clock.forward();
    await this.#save(worker);
  }

  #watch(worker: WorkController): void {
    this.#look = worker.timers.armIn(SAVE_MS, () => {
      if (worker.parts.revoked.changes !== this.#saved) this.#saving = this.#save(worker);
      this.#watch(worker);
    });
  }

  async #save(worker: WorkController): Promise<void> {
    try {
      await replaceBytes(this.#path, this.#document(worker));
    } catch (error) {
      worker.world.log.error(`Cannot save the state of this worker: ${errorText(error)}`);
    }
  }

  #document({ world, app, parts }: WorkController): Uint8Array {
    const { revoked } = parts;
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

  #load({ world, app, parts }: WorkController): void {
    let state: State;
    try {
      const bytes = readBytes(this.#path);
      if (bytes === null) return;
      state = checked(deserialize(bytes, CBOR, "binary", acceptedTypes(["cbor"])));
    } catch (error) {
      const aside = setAside(this.#path, world.clock.wallMs());
      world.log.error(`Cannot read the state of this worker, set aside as "${aside}": ${errorText(error)}`);
      return;
    }
    app.clock.adjust(state.clock);
    const nowWall = world.clock.wallMs() / 1000;
    const nowMono = world.clock.monoMs() / 1000;
    const entries = state.revoked
      // Of a clock that was put back: as young as can be.
      .map(([id, at]) => [id, nowMono - Math.max(0, nowWall - at)] as const)
      .filter(([, at]) => at > nowMono - REVOKE_EXPIRES_SECONDS);
    parts.revoked.update(entries);
  }
}

function checked(value: unknown): State {
  const state = value as State;
  const isState = value !== null && typeof value === "object" && state.lovage === VERSION &&
    Number.isSafeInteger(state.clock) && Array.isArray(state.revoked) &&
    state.revoked.every((one) => Array.isArray(one) && typeof one[0] === "string" && Number.isFinite(one[1]));
  if (!isState) throw new TypeError("it is no state of a worker");
  return state;
}
