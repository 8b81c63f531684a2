/**
 * Elections among workers: who does something that only one is to do.
 *
 * A worker that is asked to (remote command `election`) announces itself with its clock; everybody acknowledges every
 * announcement. The lowest clock wins; of equal clocks the lowest name. Celery decides as soon as there are as many
 * acknowledgements as other workers alive, which may be before the last announcement; here the decision then waits up
 * to a second for the announcements that are missing, so that all decide on the same list. For the same reason a
 * worker acknowledges others once it has announced itself: a Python worker that has as many acknowledgements as
 * neighbours, and one announcement, ends with an IndexError.
 *
 * Source: celery 5.2.6 worker/consumer/gossip.py Gossip.election, on_elect, on_elect_ack; kombu clocks.py sort_heap;
 * protocol.md 7.3.
 */

import { forgetOldest } from "../base/mod.ts";

/** How long announcements are waited for when acknowledgements suffice, and our own before others are acknowledged. */
const PATIENCE_MS = 1000;
/** Elections remembered at most; past it the oldest are forgotten. */
const ELECTIONS_MAX = 100;
/** Candidates of one election at most. */
const CANDIDATES_MAX = 10_000;

/** Who stands. */
export interface Candidate {
  readonly clock: number;
  /** `name@host.pid`. */
  readonly id: string;
  /** `name@host`. */
  readonly hostname: string;
  readonly topic: string;
  readonly action: unknown;
}

/** What came of an election that this worker took part in. */
export interface Decision {
  readonly election: string;
  readonly winner: Candidate;
}

/** What elections ask of their worker. */
export interface GossipElectionOptions {
  /** Node names of the other workers that are alive. */
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
  /** Acknowledgements of announcements that came before our own. */
  owed: number;
}

/** The elections under way. */
export class GossipElections {
  readonly #options: GossipElectionOptions;
  readonly #elections = new Map<string, Election>();

  constructor(options: GossipElectionOptions) {
    this.#options = options;
  }

  /**
   * This worker takes part: `announce` says so to all. Its own announcement, and every acknowledgement from now on,
   * counts.
   */
  join(id: string, announce: () => void): void {
    if (this.#elections.get(id)?.isDecided) this.#elections.delete(id);
    const election = this.#of(id);
    election.takesPart = true;
    election.acks = 0;
    announce();
    this.#pay(id, election);
  }

  /** Someone stands, this worker itself included. It is acknowledged now, or when we stand too. */
  stand(id: string, candidate: Candidate): void {
    const election = this.#of(id);
    if (election.takesPart) this.#options.acknowledge(id);
    else if (election.owed < CANDIDATES_MAX && election.owed++ === 0) {
      this.#options.arm(PATIENCE_MS, () => this.#pay(id, election));
    }
    if (election.isDecided || election.candidates.length >= CANDIDATES_MAX) return;
    election.candidates.push(candidate);
    this.#consider(id, election);
  }

  /** Someone has acknowledged an announcement. */
  acknowledge(id: string): void {
    const election = this.#elections.get(id);
    if (!election?.takesPart || election.isDecided) return;
    election.acks++;
    this.#consider(id, election);
  }

  #pay(id: string, election: Election): void {
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
    // Alone, one's own acknowledgement is waited for: then the announcement has been round.
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
