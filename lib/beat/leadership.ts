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
const GRACE_MS = 3000;
/** Between two looks at a lease that is held, at least. */
const LOOK_MIN_MS = 1000;

/** What the leases and records of an App's beats are called in the ledger. */
export function beatNames(app: string): { records: string; hosts: string; lease(schedule: string): string } {
  return {
    records: `beat:${app}`,
    hosts: `beat-hosts:${app}`,
    lease: (schedule) => `beat:${app}:${schedule}`,
  };
}

/** What one beat does to become, stay and stop being the one that sends. */
export class BeatLeadership {
  /** Where the records of all beats of this App lie. */
  readonly namespace: string;
  readonly #lease: string;
  readonly #owner: string;
  readonly #hosts: string;
  readonly #host: string;
  #token = 0;

  /**
   * `schedule` is the schedule's fingerprint: beats of other schedules lead beside us. `host` is what people are shown.
   */
  constructor(app: string, { schedule, owner, host }: { schedule: string; owner: string; host: string }) {
    const names = beatNames(app);
    this.namespace = names.records;
    this.#lease = names.lease(schedule);
    this.#hosts = names.hosts;
    this.#owner = owner;
    this.#host = host;
  }

  /**
   * Fencing token at the last check; 0: we do not lead. If it changed, another beat may have led in between.
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
    const before = this.#token;
    this.#token = state.token;
    if (state.token > 0) {
      if (state.token !== before && ledger.holder) await this.#tellHost(ledger, wanted);
      return null;
    }
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
    const under = {
      namespace: this.namespace,
      lease: this.#lease,
      token: this.#token,
      leaseMs: idleMs + GRACE_MS,
    };
    const found = await ledger.commit(under, entries);
    if (found === null) this.#token = 0;
    return found;
  }

  /** Writes who we are and where we run, for those who look who leads: one record for each schedule. */
  async #tellHost(ledger: Ledger, leaseMs: number): Promise<void> {
    const under = { namespace: this.#hosts, lease: this.#lease, token: this.#token, leaseMs };
    const entry = { key: this.#lease, value: `${this.#owner} ${this.#host}`, message: null };
    const [before = null] = await ledger.commit(under, [{ ...entry, expected: null }]) ?? [];
    if (before !== null && before !== entry.value) {
      await ledger.commit(under, [{ ...entry, expected: before }]);
    }
  }

  /** The connection is gone: whether we lead is asked anew, and the token still says that it was us. */
  async resign(ledger: Ledger): Promise<void> {
    const token = this.#token;
    this.#token = 0;
    if (token > 0) await ledger.release(this.#lease, token);
  }
}
