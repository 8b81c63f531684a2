/**
 * Which of several beats sends, by a lease in the broker's ledger.
 *
 * The holder of the lease leads. It takes the lease until three seconds after its next run is due. So a
 * leader with nothing to send sends nothing, and a dead one is replaced three seconds after the first run
 * that it missed. A standby asks again when the leader's next run is due (it may have ended in order) and
 * when the lease ends.
 *
 * The lease only saves work. The records ensure that nothing is sent twice: each run replaces the record that
 * this beat has read, in the same step that publishes it.
 */

import type { Ledger, LedgerEntry } from "../transport/mod.ts";

/** How long after a run is due its leader is replaced, milliseconds. */
const GRACE_MS = 3000;
/** Shortest time between two requests for a lease that is held, milliseconds. */
const LOOK_MIN_MS = 1000;

/** Returns the names of leases and records of an App's beats in the ledger. */
export function beatNames(app: string): { records: string; hosts: string; lease(schedule: string): string } {
  return {
    records: `beat:${app}`,
    hosts: `beat-hosts:${app}`,
    lease: (schedule) => `beat:${app}:${schedule}`,
  };
}

/** Takes, keeps and releases one beat's lead. */
export class BeatLeadership {
  /** The namespace of the records of all beats of this App. */
  readonly namespace: string;
  readonly #lease: string;
  readonly #owner: string;
  readonly #hosts: string;
  readonly #host: string;
  #token = 0;

  /**
   * `schedule` is the schedule's fingerprint: beats of other schedules have leases of their own. `host` is
   * shown to people.
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
   * Fencing token at the last check; 0: this beat does not lead. If it changed, another beat may have led in
   * between.
   */
  get token(): number {
    return this.#token;
  }

  /**
   * Takes or renews the lease until the grace time after `idleMs` from now. Resolves with null if this beat
   * leads, else with the milliseconds after which to ask again. Rejects as the ledger does.
   */
  async lead(ledger: Ledger, idleMs: number): Promise<number | null> {
    const wanted = idleMs + GRACE_MS;
    let state = await ledger.lease(this.#lease, this.#owner, wanted, this.#token);
    if (state.token === 0 && this.#token > 0) {
      // The lease was lost while this beat was away; its new holder may be dead too.
      state = await ledger.lease(this.#lease, this.#owner, wanted, 0);
    }
    const before = this.#token;
    this.#token = state.token;
    if (state.token > 0) {
      if (state.token !== before && ledger.holder) await this.#recordHost(ledger, wanted);
      return null;
    }
    if (state.leftMs <= LOOK_MIN_MS) return state.leftMs + 20;
    return Math.max(LOOK_MIN_MS, state.leftMs - GRACE_MS + 100);
  }

  /**
   * Publishes runs together with their records, and renews the lease as `lead` does. Resolves with null if
   * this beat does not lead any more; nothing was done then. Else with null for each entry that was written,
   * or the record that differed from the one expected. Rejects as the ledger does.
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

  /** Records who leads and on which host, for `beat list` and the console: one record for each schedule. */
  async #recordHost(ledger: Ledger, leaseMs: number): Promise<void> {
    const under = { namespace: this.#hosts, lease: this.#lease, token: this.#token, leaseMs };
    const entry = { key: this.#lease, value: `${this.#owner} ${this.#host}`, message: null };
    const [before = null] = await ledger.commit(under, [{ ...entry, expected: null }]) ?? [];
    if (before !== null && before !== entry.value) {
      await ledger.commit(under, [{ ...entry, expected: before }]);
    }
  }

  /**
   * Stops leading and releases the lease, so that another beat may take it at once. Rejects as the ledger
   * does.
   */
  async resign(ledger: Ledger): Promise<void> {
    const token = this.#token;
    this.#token = 0;
    if (token > 0) await ledger.release(this.#lease, token);
  }
}
