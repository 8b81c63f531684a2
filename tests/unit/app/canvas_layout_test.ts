/** Canvases that end or begin with groups: each call runs once, and gets the list of what came before it. */

import assert from "node:assert/strict";
import { Chain, chain, chord, group, type Signature } from "../../../lib/canvas/mod.ts";
import type { App, GroupResult } from "../../../lib/app/mod.ts";
import { MiniWorker } from "./mini_worker.ts";

/** A task that shows its arguments, the last one as its name. */
function define(app: App): void {
  const show = (value: unknown): string => Array.isArray(value) ? `[${value.map(show)}]` : String(value);
  app.task("unit.show", (...all: unknown[]) => `${all.at(-1)}(${all.slice(0, -1).map(show)})`);
}

/** Runs a canvas; its value, and which calls ran, in order of their names. */
async function outcomeOf(make: (t: (n: number) => Signature) => Signature): Promise<[unknown, string]> {
  await using worker = new MiniWorker({}, define);
  const made = make((n) => worker.app.signature("unit.show", { args: [n] }));
  const result = await made.applyAsync();
  await worker.drain();
  const ran = worker.sent.map(({ args }) => args.at(-1)).sort().join(" ");
  return [await (result as unknown as GroupResult).get({ timeout: 1 }), ran];
}

/** Three groups in a row, from the second on with what the one before came to. */
const THREE = ["5([3([1(),2()]),4([1(),2()])])", "6([3([1(),2()]),4([1(),2()])])"];

const CASES: [string, (t: (n: number) => Signature) => Signature, unknown, string][] = [
  [
    "a header's member that is a chain of only a group",
    (t) => chord([new Chain([group(t(1), t(2))]), t(3)], t(4)),
    "4([[1(),2()],3()])",
    "1 2 3 4",
  ],
  [
    "the same behind another member",
    (t) => chord([t(3), new Chain([group(t(1), t(2))])], t(4)),
    "4([3(),[1(),2()]])",
    "1 2 3 4",
  ],
  [
    "a header of one chain that ends in a group",
    (t) => chord([chain(t(0), group(t(1), t(2)))], t(4)),
    "4([[1(0()),2(0())]])",
    "0 1 2 4",
  ],
  [
    "a header of one chain of only a group",
    (t) => chord([new Chain([group(t(1), t(2))])], t(4)),
    "4([[1(),2()]])",
    "1 2 4",
  ],
  [
    "a header of one chord whose body is a group",
    (t) => chord([chord([t(0), t(1)], group(t(2), t(3)))], t(4)),
    "4([[2([0(),1()]),3([0(),1()])]])",
    "0 1 2 3 4",
  ],
  ["a header of one chain", (t) => chord([chain(t(0), t(1))], t(4)), "4([1(0())])", "0 1 4"],
  [
    "three groups",
    (t) => chain(group(t(1), t(2)), group(t(3), t(4)), group(t(5), t(6))),
    THREE,
    "1 2 3 4 5 6",
  ],
  [
    "a chord whose body is a group, and a group",
    (t) => chain(chord([t(1), t(2)], group(t(3), t(4))), group(t(5), t(6))),
    THREE,
    "1 2 3 4 5 6",
  ],
  [
    "a chord whose body is a chain that ends in a group, and a group",
    (t) => chain(chord([t(1), t(2)], chain(t(9), group(t(3), t(4)))), group(t(5), t(6))),
    ["5([3(9([1(),2()])),4(9([1(),2()]))])", "6([3(9([1(),2()])),4(9([1(),2()]))])"],
    "1 2 3 4 5 6 9",
  ],
  [
    "four groups and a task",
    (t) => chain(group(t(1), t(2)), group(t(3), t(4)), group(t(5), t(6)), group(t(7), t(8)), t(9)),
    "9([7([5([3([1(),2()]),4([1(),2()])]),6([3([1(),2()]),4([1(),2()])])]),8([5([3([1(),2()]),4([1(),2()])]),6([3([1(),2()]),4([1(),2()])])])])",
    "1 2 3 4 5 6 7 8 9",
  ],
];

Deno.test("canvases with groups at their ends", async (test) => {
  for (const [name, make, value, ran] of CASES) {
    await test.step(name, async () => assert.deepEqual(await outcomeOf(make), [value, ran]));
  }
});

Deno.test("a group that travels with steps behind it, as Celery's client sends one, is their header", async () => {
  await using worker = new MiniWorker({}, define);
  const t = (n: number) => worker.app.signature("unit.show", { args: [n] });
  const last = chord([t(5)], t(6).set({ taskId: "end" }));
  const stale = [t(3).set({ groupId: "other" }), chain(t(4), t(7)).set({ groupId: "other" })];
  await group(stale).set({ chain: [t(8).toJSON(), last.toJSON()] }).applyAsync(["x"]);
  await worker.drain();
  assert.deepEqual(worker.sent.map(({ args }) => args.at(-1)).sort().join(" "), "3 4 5 6 7 8");
  assert.deepEqual((await worker.stored("end"))?.result, "6([5([3(x),7(4(x))])])");
});
