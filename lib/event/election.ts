/**
 * Elections among workers: which of them does something that only one should do.
 *
 * A worker that is asked to (remote command `election`) announces itself with its clock; every worker
 * acknowledges every announcement. The lowest clock wins; of equal clocks the lowest name. Celery decides as
 * soon as there are as many acknowledgements as other live workers, which may be before the last
 * announcement. Here the decision then waits up to a second for missing announcements, so that all decide on
 * the same list. For the same reason a worker acknowledges others only after its own announcement: a Python
 * worker that has as many acknowledgements as neighbours, but only one announcement, fails with an
 * IndexError.
 *
 * Source: celery 5.2.6 worker/consumer/gossip.py Gossip.election, on_elect, on_elect_ack; kombu clocks.py
 * sort_heap; protocol.md 7.3.
 */

import { forgetOldest } from "../base/mod.ts";

/**
 * How long to wait for announcements after enough acknowledgements, and for our own announcement before
 * others are acknowledged.
 */
const PATIENCE_MS = 1000;
/** Elections remembered at most; the oldest are forgotten first. */
const ELECTIONS_MAX = 100;
/** Candidates in one election at most. */
const CANDIDATES_MAX = 10_000;

/** A candidate. */
export interface Candidate {
  readonly clock: number;
  /** `name@host.pid`. */
  readonly id: string;
  /** `name@host`. */
  readonly hostname: string;
  readonly topic: string;
  readonly action: unknown;
}

/** The result of an election that this worker took part in. */
export interface Decision {
  readonly election: string;
  readonly winner: Candidate;
}

/** What elections need from their worker. */
export interface GossipElectionOptions {
  /** Returns the node names of the other live workers. */
  others(): readonly string[];
  /** Calls `fn` once, `ms` later. */
  arm(ms: number, fn: () => void): void;
  /** Sends the acknowledgement of one announcement. */
  acknowledge(election: string): void;
  decided(decision: Decision): void;
}

interface Election {
  readonly candidates: Candidate[];
  takesPart: boolean;
  acks: number;
  isArmed: boolean;
  isDecided: boolean;
  /** Number of announcements, before our own, that are not acknowledged yet. */
  owed: number;
}

/** The elections that are under way. */
export class GossipElections {
  readonly #options: GossipElectionOptions;
  readonly #elections = new Map<string, Election>();

  constructor(options: GossipElectionOptions) {
    this.#options = options;
  }

  /**
   * Takes part in an election: `announce` sends this worker's announcement. From now on acknowledgements
   * count.
   */
  join(id: string, announce: () => void): void {
    if (this.#elections.get(id)?.isDecided) this.#elections.delete(id);
    const election = this.#of(id);
    election.takesPart = true;
    election.acks = 0;
    announce();
    this.#acknowledgeOwed(id, election);
  }

  /**
   * Takes an announcement, this worker's own included. It is acknowledged now, or after our own announcement.
   */
  stand(id: string, candidate: Candidate): void {
    const election = this.#of(id);
    if (election.takesPart) this.#options.acknowledge(id);
    else if (election.owed < CANDIDATES_MAX && election.owed++ === 0) {
      this.#options.arm(PATIENCE_MS, () => this.#acknowledgeOwed(id, election));
    }
    if (election.isDecided || election.candidates.length >= CANDIDATES_MAX) return;
    election.candidates.push(candidate);
    this.#consider(id, election);
  }

  /** Takes an acknowledgement. */
  acknowledge(id: string): void {
    const election = this.#elections.get(id);
    if (!election?.takesPart || election.isDecided) return;
    election.acks++;
    this.#consider(id, election);
  }

  #acknowledgeOwed(id: string, election: Election): void {
    for (; election.owed > 0; election.owed--) this.#options.acknowledge(id);
  }

  #of(id: string): Election {
    let election = this.#elections.get(id);
    if (election) return election;
    election = { candidates: [], takesPart: false, acks: 0, isArmed: false, isDecided: false, owed: 0 };
    this.#elections.set(id, election);
    forgetOldest(this.#elections, ELECTIONS_MAX);
    return election;
  }

  #consider(id: string, election: Election): void {
    if (!election.takesPart || election.candidates.length === 0) return;
    const others = this.#options.others();
    // If there is no other worker, wait for our own acknowledgement: it shows that the announcement was
    // delivered.
    if (election.acks < Math.max(1, others.length)) return;
    const standing = new Set(election.candidates.map((one) => one.hostname));
    if (standing.size > others.length && others.every((name) => standing.has(name))) {
      return this.#decide(id, election);
    }
    if (election.isArmed) return;
    election.isArmed = true;
    this.#options.arm(PATIENCE_MS, () => this.#decide(id, election));
  }

  #decide(id: string, election: Election): void {
    if (election.isDecided || this.#elections.get(id) !== election) return;
    const [first, ...rest] = election.candidates;
    if (first === undefined) return;
    const winner = rest.reduce((best, one) => isBefore(one, best) ? one : best, first);
    election.isDecided = true;
    election.candidates.length = 0;
    this.#options.decided({ election: id, winner });
  }
}

function isBefore(a: Candidate, b: Candidate): boolean {
  return a.clock === b.clock ? a.id < b.id : a.clock < b.clock;
}
