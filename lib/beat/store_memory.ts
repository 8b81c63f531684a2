/** A store in memory: for a beat that can write no file, and for tests. */

import type { RunState, ScheduleStore } from "./store.ts";

/** Keeps states in memory. */
export class MemoryStore implements ScheduleStore {
  readonly owner: string;
  readonly path = null;
  readonly states: Map<string, RunState> = new Map();

  constructor(owner: string) {
    this.owner = owner;
  }

  load(): Promise<Map<string, RunState>> {
    return Promise.resolve(new Map(this.states));
  }

  save(states: ReadonlyMap<string, RunState | null>): Promise<void> {
    for (const [name, state] of states) {
      if (state === null) this.states.delete(name);
      else this.states.set(name, state);
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
