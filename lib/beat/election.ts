/**
 * Which of several beats sends: a lease of the broker's ledger.
 *
 * Whoever holds the lease leads. It is taken for as long as nothing is due and three seconds more, so that
 * a leader with nothing to do does nothing, and one that died is missed three seconds after the first run
 * it did not send. Whoever stands by asks when the leader's next run is due (it may have gone in order) and
 * when its lease ends.
 *
 * The lease spares work; that nothing is sent twice rests on the records: each run changes its entry's
 * record in the one step that publishes it, from the value that this beat has read.
 */

import type { Ledger, LedgerEntry } from "../transport/mod.ts";

/** How long after a run is due its leader is missed, milliseconds. */
export const GRACE_MS = 3000;
/** Between two looks at a lease that is held, at least. */
const LOOK_MIN_MS = 1000;

/** One beat's part in the election. */
export class Election {
  /** Where the records of all beats of this App lie. */
  readonly book: string;
  readonly #lease: string;
  readonly #owner: string;
  #token = 0;

  /** `schedule` is the schedule's fingerprint: beats of other schedules lead beside us. */
  constructor(app: string, schedule: string, owner: string) {
    this.book = `beat:${app}`;
    this.#lease = `beat:${app}:${schedule}`;
    this.#owner = owner;
  }

  /**
   * Of the lease, as it was when last asked; 0: we do not lead. With another than before, others may have
   * led between.
   */
  get token(): number {
    return this.#token;
  }

  /**
   * Asks to lead, or to go on leading, until `idleMs` from now and the grace. Null: we do; else
   * milliseconds after which to ask again.
   */
  async lead(ledger: Ledger, idleMs: number): Promise<number | null> {
    const wanted = idleMs + GRACE_MS;
    let state = await ledger.lease(this.#lease, this.#owner, wanted, this.#token);
    if (state.token === 0 && this.#token > 0) {
      // Overtaken while we were away; perhaps by nobody who lives.
      state = await ledger.lease(this.#lease, this.#owner, wanted, 0);
    }
    this.#token = state.token;
    if (state.token > 0) return null;
    if (state.leftMs <= LOOK_MIN_MS) return state.leftMs + 20;
    return Math.max(LOOK_MIN_MS, state.leftMs - GRACE_MS + 100);
  }

  /**
   * Publishes runs with their records, and goes on leading until `idleMs` from now. Null: we lead no more,
   * nothing was done. Else per entry null, or the record that stood in the way.
   */
  async commit(
    ledger: Ledger,
    entries: readonly LedgerEntry[],
    idleMs: number,
  ): Promise<(string | null)[] | null> {
    const under = { book: this.book, lease: this.#lease, token: this.#token, leaseMs: idleMs + GRACE_MS };
    const found = await ledger.commit(under, entries);
    if (found === null) this.#token = 0;
    return found;
  }

  /** The connection is gone: whether we lead is asked anew, and the token still says that it was us. */
  async resign(ledger: Ledger): Promise<void> {
    const token = this.#token;
    this.#token = 0;
    if (token > 0) await ledger.release(this.#lease, token);
  }
}
