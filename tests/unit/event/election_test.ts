import assert from "node:assert/strict";
import fc from "fast-check";
import { type Candidate, GossipElections } from "../../../lib/event/mod.ts";

interface Node {
  readonly elections: GossipElections;
  readonly decided: string[];
  readonly timers: (() => void)[];
  /** Announcements and acknowledgements that it has sent. */
  readonly sent: string[];
}

const NOTHING = () => {};

function node(name: string, others: readonly string[]): Node {
  const decided: string[] = [];
  const timers: (() => void)[] = [];
  const sent: string[] = [];
  const elections = new GossipElections({
    others: () => others.filter((one) => one !== name),
    arm: (_, fn) => timers.push(fn),
    acknowledge: () => sent.push("ack"),
    decided: ({ winner }) => decided.push(winner.id),
  });
  return { elections, decided, timers, sent };
}

const candidate = (hostname: string, clock: number): Candidate => ({
  clock,
  id: `${hostname}.1`,
  hostname,
  topic: "task",
  action: null,
});

Deno.test("GossipElections: alone, it wins by its own acknowledgement", () => {
  const { elections, decided } = node("a", ["a"]);
  elections.join("e", NOTHING);
  elections.stand("e", candidate("a", 3));
  assert.deepEqual(decided, []);
  elections.acknowledge("e");
  assert.deepEqual(decided, ["a.1"]);
  elections.acknowledge("e");
  elections.stand("e", candidate("b", 1));
  assert.deepEqual(decided, ["a.1"]);
  elections.join("e", NOTHING);
  elections.stand("e", candidate("a", 9));
  elections.acknowledge("e");
  assert.deepEqual(decided, ["a.1", "a.1"]);
});

Deno.test("GossipElections: the lowest clock wins, of equal ones the lowest name, and all agree in any order of messages", () => {
  const names = ["a@x", "b@x", "c@x", "d@x"];
  const clocks = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 4 });
  fc.assert(fc.property(clocks, fc.infiniteStream(fc.nat(7)), (given, choices) => {
    const nodes = names.map((name) => node(name, names));
    nodes.forEach(({ elections }) => elections.join("e", NOTHING));
    // One channel, as a broker orders it: all workers receive all messages in the same order.
    const channel: ({ stand: number } | "ack")[] = names.map((_, index) => ({ stand: index }));
    for (const choice of choices) {
      if (channel.length === 0) break;
      const [one] = channel.splice(choice % channel.length, 1);
      for (const { elections } of nodes) {
        if (one === "ack") elections.acknowledge("e");
        else elections.stand("e", candidate(names[one!.stand]!, given[one!.stand]!));
      }
      if (one !== "ack") channel.push(..."ack ack ack ack".split(" ") as "ack"[]);
    }
    const lowest = Math.min(...given);
    const winner = `${names[given.indexOf(lowest)]}.1`;
    for (const { decided } of nodes) assert.deepEqual(decided, [winner]);
  }));
});

Deno.test("GossipElections: late candidates are not waited for; a worker that does not take part decides nothing", () => {
  const { elections, decided, timers } = node("a", ["a", "b"]);
  elections.stand("other", candidate("b", 1));
  elections.acknowledge("other");
  timers.length = 0;
  elections.join("e", NOTHING);
  elections.stand("e", candidate("a", 3));
  elections.acknowledge("e");
  assert.deepEqual([decided, timers.length], [[], 1]);
  timers[0]!();
  assert.deepEqual(decided, ["a.1"]);
  for (let n = 0; n < 1000; n++) elections.stand(`flood-${n}`, candidate("b", 1));
});

Deno.test("GossipElections: others are acknowledged after our own announcement, or a second later", () => {
  const { elections, sent, timers } = node("a", ["a", "b", "c"]);
  elections.stand("e", candidate("b", 1));
  elections.stand("e", candidate("c", 2));
  assert.equal(sent.length, 0);
  elections.join("e", () => sent.push("announcement"));
  assert.deepEqual(sent, ["announcement", "ack", "ack"]);
  elections.stand("e", candidate("a", 3));
  assert.equal(sent.length, 4);
  timers[0]!();
  assert.equal(sent.length, 4);
  elections.stand("unheard", candidate("b", 1));
  timers[1]!();
  assert.equal(sent.length, 5);
});
