import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type CanvasResult,
  type CanvasSender,
  Chain,
  chain,
  Chord,
  chord,
  chunks,
  frozenTuple,
  Group,
  group,
  Signature,
  signature,
  xmap,
  xstarmap,
} from "../../../lib/canvas/mod.ts";
import golden from "../../golden/signatures-5.6.3.json" with { type: "json" };

let ids = 0;
const sender: CanvasSender = {
  restored: (wire) => wire,
  newId: () => `id-${++ids}`,
  replyTo: () => "oid",
  linksChains: false,
  errbacksOnHeader: false,
  applyAsync: () => Promise.reject<CanvasResult>(new Error("not sent here")),
  apply: () => Promise.reject<CanvasResult>(new Error("not run here")),
};
const sig = (name: string, ...args: unknown[]): Signature =>
  signature(`tasks.${name}`, { args, app: sender });

Deno.test("every golden signature is read and written again unchanged", () => {
  for (const one of golden.messages) {
    const read = Signature.fromWire(JSON.parse(one.json), sender);
    assert.equal(JSON.stringify(read), JSON.stringify(one.value), one.scenario);
    assert.equal(JSON.stringify(read.clone()), JSON.stringify(one.value), `${one.scenario}, cloned`);
  }
});

Deno.test("what is built here is what Celery builds", () => {
  const built: Record<string, Signature> = {
    "s()": sig("add", 2, 3),
    "si()": sig("add", 2, 3).setImmutable(true),
    "options": sig("add", 2, 3).set({ countdown: 10, queue: "q", priority: 3 }),
    "link": sig("add", 2, 3).onError(sig("on_error")),
    "with link": sig("add", 1, 1).set({ link: sig("mul", 2) }),
    "chain": sig("add", 1, 1).pipe(sig("mul", 2)),
    "group": group(sig("add", 1, 1), sig("add", 2, 2)),
    "chord": chord([sig("add", 1, 1), sig("add", 2, 2)], sig("tsum")),
    "chain | group": sig("add", 1, 1).pipe(group(sig("mul", 2), sig("mul", 3))),
    "group | task": group(sig("add", 1, 1)).pipe(sig("tsum")),
    "map": xmap(sig("tsum"), [[1, 2]]),
    "starmap": xstarmap(sig("add"), [[1, 2]]),
    "chunks": chunks(sig("add"), [[1, 1], [2, 2], [3, 3]], 2),
    "chunks as group": chunks(sig("add"), [[1, 1], [2, 2], [3, 3]], 2).group(),
    "group in group": group<unknown>(group(sig("add", 1, 1)), sig("add", 2, 2)),
  };
  for (const [scenario, made] of Object.entries(built)) {
    const want = golden.messages.find((one) => one.scenario === scenario);
    assert.equal(JSON.stringify(made), JSON.stringify(want?.value), scenario);
  }
});

const names = (made: Signature): unknown =>
  made instanceof Chain
    ? ["chain", ...made.tasks.map(names)]
    : made instanceof Chord
    ? ["chord", made.tasks.map(names), made.body && names(made.body)]
    : made instanceof Group
    ? ["group", ...made.tasks.map(names)]
    : made.task.slice(6);

Deno.test("pipe upgrades as Celery's | does", () => {
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => sig(name)) as [
    Signature,
    Signature,
    Signature,
    Signature,
  ];
  assert.deepEqual(names(a.pipe(b, c)), ["chain", "a", "b", "c"]);
  assert.deepEqual(names(a.pipe(b.pipe(c))), ["chain", "a", "b", "c"]);
  assert.deepEqual(names(chain(a, b).pipe(chain(c, d))), ["chain", "a", "b", "c", "d"]);
  assert.deepEqual(names(group(a, b).pipe(c)), ["chord", ["a", "b"], "c"]);
  assert.deepEqual(names(chain(group(a, b), c)), ["chord", ["a", "b"], "c"]);
  assert.deepEqual(names(chain(a, group(b, c), d)), ["chain", "a", ["chord", ["b", "c"], "d"]]);
  assert.deepEqual(names(chain(a, group(b, c), d, a)), ["chain", "a", ["chord", ["b", "c"], [
    "chain",
    "d",
    "a",
  ]]]);
  assert.deepEqual(names(group(a, b).pipe(c).pipe(d)), ["chord", ["a", "b"], ["chain", "c", "d"]]);
  assert.deepEqual(names(a.pipe(group([b]))), ["chain", "a", "b"]);
  assert.deepEqual(names(chain(a, group(b, c), group(a, d), b)), [
    "chain",
    "a",
    ["group", "b", "c"],
    ["chord", ["a", "d"], "b"],
  ]);
  assert.deepEqual(names(group(a, b).pipe(group(c, d))), ["chord", ["a", "b"], ["group", "c", "d"]]);
  assert.deepEqual(names(chain([group(a, b)])), ["group", "a", "b"]);
});

Deno.test("a chain of any shape never loses or repeats a step", () => {
  const piece = fc.oneof(fc.constant("t"), fc.integer({ min: 2, max: 3 }));
  fc.assert(fc.property(fc.array(piece, { minLength: 2, maxLength: 8 }), (pieces) => {
    let n = 0;
    const made = pieces.map((one) =>
      one === "t" ? sig(`t${n++}`) : group(Array.from({ length: one as number }, () => sig(`t${n++}`)))
    );
    const text = JSON.stringify(chain(made));
    for (let at = 0; at < n; at++) assert.equal(text.split(`"tasks.t${at}"`).length, 2, `t${at} in ${text}`);
  }));
});

Deno.test("signature: of a signature's data, or of one, another of its own; of anything else an error", () => {
  const one = chain(sig("add", 1), sig("add", 2).set({ queue: "q" }));
  const data = JSON.parse(JSON.stringify(one));
  for (const made of [signature(data, { app: sender }), signature(one)]) {
    assert.deepEqual(made.toJSON(), one.toJSON());
    assert.equal(made.app, sender);
    made.set({ queue: "other" });
  }
  assert.deepEqual(JSON.parse(JSON.stringify(one)), data);
  for (const wrong of [null, undefined, 1, {}, []] as never[]) {
    assert.throws(() => signature(wrong), /Cannot read a signature/);
  }
});

Deno.test("merge: partial arguments come first, an immutable signature takes none, a set group id stays", () => {
  assert.deepEqual(sig("add", 4).clone([1]).args, [1, 4]);
  assert.deepEqual(sig("add", 4).setImmutable(true).clone([1]).args, [4]);
  const grouped = sig("add").set({ groupId: "g" }).clone([], {}, { groupId: "other", queue: "q" });
  assert.deepEqual(grouped.options, { groupId: "g", queue: "q" });
});

Deno.test("clone shares no list or options with its origin", () => {
  const origin = sig("add", 1).onError(sig("err"));
  const copy = origin.clone();
  copy.linkError(sig("err2"));
  copy.args.push(2);
  assert.equal((origin.options.linkError as unknown[]).length, 1);
  assert.deepEqual(origin.args, [1]);
  const tree = group(sig("a"), sig("b"));
  assert.notEqual(tree.clone().tasks[0], tree.tasks[0]);
});

Deno.test("linkError of a chord: its body, chords of its header by themselves, other tasks of it if the setting says so", () => {
  const build = (on: CanvasSender) => {
    const of = (name: string) => signature(`tasks.${name}`, { app: on });
    const inner = chord([of("a")], of("inner"));
    const whole = chord([inner, of("b")], of("outer"));
    whole.linkError(of("eb"));
    const names = (one: Signature | null) => ((one?.options.linkError ?? []) as unknown[]).length;
    return [names(whole.body), names(inner.body), names(whole.tasks[1]!), names(inner.tasks[0]!)];
  };
  assert.deepEqual(build(sender), [1, 1, 0, 0]);
  assert.deepEqual(build({ ...sender, errbacksOnHeader: true }), [1, 2, 1, 1]);
});

Deno.test("linkError of one errback twice is one errback", () => {
  const made = sig("add").onError(sig("err")).onError(sig("err"));
  assert.equal((made.options.linkError as unknown[]).length, 1);
  assert.deepEqual(made.flattenLinks().map((one) => one.task), ["tasks.add"]);
});

Deno.test("freeze: ids once, parents along the chain, a group's members numbered", () => {
  const made = chain(sig("a"), group(sig("b"), sig("c")), sig("d"));
  const frozen = made.freeze({ id: "last" });
  assert.equal(frozen.id, "last");
  const header = frozen.parent!;
  assert.equal(header.members!.length, 2);
  assert.equal(header.parent!.members, null);
  assert.equal(made.freeze().id, "last");
  const [[id, parent], members] = frozenTuple(frozen);
  assert.equal(id, "last");
  assert.equal(parent![1]!.length, 2);
  assert.equal(members, null);
  const inner = JSON.parse(JSON.stringify(made)).kwargs.tasks[1];
  assert.deepEqual(inner.kwargs.header.kwargs.tasks.map((one: { options: object }) => one.options), [
    {
      task_id: header.members![0]!.id,
      reply_to: "oid",
      chord: inner.kwargs.body,
      group_index: 0,
    },
    {
      task_id: header.members![1]!.id,
      reply_to: "oid",
      chord: inner.kwargs.body,
      group_index: 1,
    },
  ]);
});

Deno.test("chordSize counts leaf completions", () => {
  const inner = chord([sig("a"), sig("b"), sig("c")], sig("d"));
  assert.equal(group(sig("x"), chain(sig("y"), group(sig("z"), sig("w"))), inner).chordSize(), 1 + 2 + 1);
});

Deno.test("stamp: names are collected, links and parts are stamped, a visitor adds its own", () => {
  const made = chain(sig("a").onError(sig("err")), group(sig("b"), sig("c"))).stamp({ tenant: "acme" });
  const wire = JSON.parse(JSON.stringify(made));
  for (
    const one of [
      wire.kwargs.tasks[0],
      wire.kwargs.tasks[0].options.link_error[0],
      wire.kwargs.tasks[1].kwargs.tasks[1],
    ]
  ) {
    assert.equal(one.options.tenant, "acme");
    assert.deepEqual(one.options.stamped_headers, ["tenant"]);
  }
  const seen: string[] = [];
  const visited = chord([sig("a")], sig("b")).stamp({
    visitor: {
      onSignature: (one) => (seen.push(one.task), { seen: one.task }),
      onGroupStart: () => ({ header: true }),
      onChordBody: () => ({ body: true }),
    },
  });
  assert.deepEqual(seen, ["tasks.a", "tasks.b"]);
  // A chord's header is a group; what it has been given holds for the body too.
  assert.deepEqual(visited.tasks[0]!.options["header"], true);
  assert.deepEqual(visited.body!.options.stampedHeaders, ["header", "body", "seen"]);
  assert.equal(visited.body!.options["body"], true);
  assert.equal(visited.tasks[0]!.options["seen"], "tasks.a");
  assert.deepEqual(sig("a").stamp({ on: 1 }).stamp({ on: 2, appendStamps: true }).options["on"], [1, 2]);
});

Deno.test("skew spreads countdowns", () => {
  const made = group(sig("a"), sig("b"), sig("c")).skew(1, 2);
  assert.deepEqual(made.tasks.map((one) => one.options.countdown), [1, 2, 2]);
});

Deno.test("what is no signature is refused in one line", () => {
  assert.throws(() => Signature.fromWire({ task: 3 } as never), /Cannot read a signature/);
  assert.throws(
    () => Signature.fromWire({ task: "celery.group", subtask_type: "group", kwargs: { tasks: 1 } }),
    /group/,
  );
  assert.throws(() => chunks(sig("a"), [[1]], 0), /at least 1/);
  assert.throws(() => group(3 as never), /Cannot read a signature from 3:/);
  assert.throws(() => chain(3 as never), /Cannot read a signature from 3:/);
});

Deno.test("arguments that are not an array, or not an object of keywords, are refused by name", async () => {
  const options = { countdown: 1 } as never;
  const one = sig("a", 1);
  for (const each of [one, chain(one, one), group(one), chord([one], one), chunks(one, [[1]], 1)]) {
    const wrong = { name: "UsageError", message: /its arguments must be an array, not \{"countdown":1\}$/ };
    await assert.rejects(each.applyAsync(options), wrong);
    await assert.rejects(each.apply(options), wrong);
    assert.throws(() => each.clone(options), wrong);
    await assert.rejects(each.applyAsync(null, [2] as never), {
      message: /its keyword arguments must be an object, not \[2\]$/,
    });
  }
  assert.throws(() => Signature.fromWire({ task: "t", args: "ab" as never }), {
    message: 'Cannot make a signature of "t": its arguments must be an array, not "ab"',
  });
  assert.throws(() => xmap(one, 1 as never), { message: /^Cannot map "tasks.a": it needs an array/ });
  assert.throws(() => chunks(one, 1 as never, 2), { name: "UsageError" });
});
