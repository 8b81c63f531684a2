/**
 * memory: a broker inside one process, shared by all connections to the same URL. It is for tests and for
 * programs with a single process; nothing survives the process.
 */

import { maskUrl, parseServerUrl } from "../../../base/mod.ts";
import { priorityStepsOf } from "../../routing.ts";
import type { Connect } from "../../transport.ts";
import type { Store } from "../store.ts";
import { VirtualConnection } from "../virtual.ts";
import { MemoryFailed, MemoryLedger } from "./kept.ts";
import { MemoryDead, MemoryMessages, MemoryParked } from "./messages.ts";
import { MemoryFanouts, MemorySessions, MemoryTopology } from "./topology.ts";

/** The broker of one URL. */
class MemoryBroker {
  readonly messages = new MemoryMessages();
  readonly topology = new MemoryTopology(this.messages);
  readonly parked = new MemoryParked(this.messages);
  readonly dead = new MemoryDead(this.messages);
  readonly failed = new MemoryFailed();
  readonly fanouts = new MemoryFanouts(this.topology);
  readonly ledger = new MemoryLedger();
  readonly sessions = new MemorySessions(this.topology);
  readonly watchers = new Map<Store, { topics: ReadonlySet<string>; onWake: () => void }>();
}

const brokers = new Map<string, MemoryBroker>();

/** Returns one connection's view of a broker. */
function memoryStore({ watchers, ...families }: MemoryBroker): Store {
  const store: Store = {
    kind: "memory",
    isShared: false,
    ...families,
    transact: (fn) => fn(),
    wake(topics) {
      for (const { topics: wanted, onWake } of watchers.values()) {
        if (!topics.isDisjointFrom(wanted)) onWake();
      }
    },
    watch: (topics, onWake) => void watchers.set(store, { topics, onWake }),
    close: () => void watchers.delete(store),
  };
  return store;
}

/**
 * Connects to this process's broker of that URL: `memory://`, `memory://name`. Rejects with UsageError for
 * wrong options.
 */
export const connectMemory: Connect = async (world, url, options) => {
  options.signal?.throwIfAborted();
  const { host, path } = parseServerUrl(url, "broker URL");
  const name = `${host ?? ""}/${path ?? ""}`;
  let broker = brokers.get(name);
  if (!broker) brokers.set(name, broker = new MemoryBroker());
  // Connects in a later turn, as the other transports do, so that no caller relies on an immediate answer.
  await Promise.resolve();
  return new VirtualConnection(world, memoryStore(broker), {
    url: maskUrl(url),
    prioritySteps: priorityStepsOf(options.transportOptions),
    clientName: options.clientName,
  });
};
