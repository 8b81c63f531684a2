/**
 * What every result store must do, as one suite; each runner names a store and its place.
 *
 * Two backends on the same place are always open, so that one reads what the other stores, as client and
 * worker do.
 */

import { countChordPart } from "../support/chords.ts";
import assert from "node:assert/strict";
import type { World } from "../../lib/base/mod.ts";
import {
  type Backend,
  type BackendOptions,
  type ChordMember,
  type ChordPart,
  openBackend,
  type ResultRecord,
  stored,
} from "../../lib/backend/mod.ts";
import {
  acceptedTypes,
  encodeException,
  encodeResultMeta,
  loadSerializer,
  type ResultMeta,
  toJson,
  type WireException,
} from "../../lib/wire/mod.ts";
import { eventually } from "../support/ports.ts";
import { realTestWorld } from "../support/real_test_world.ts";

/** The place of a store under test. */
export interface StorePlace extends AsyncDisposable {
  readonly url: string;
}

/** Returns options of a store with Celery's defaults. */
export function backendOptions(changes: Partial<BackendOptions> = {}): BackendOptions {
  return {
    expiresSeconds: 86_400,
    accept: acceptedTypes(["json", "msgpack", "yaml"]),
    serializer: "json",
    transportOptions: {},
    alwaysRetry: false,
    maxRetries: Infinity,
    baseSleepMs: 10,
    maxSleepMs: 10_000,
    redis: {},
    ...changes,
  };
}

/** Returns a record of a finished task. For exception states `result` is a WireException. */
export function resultRecord(
  taskId: string,
  state: string,
  result: unknown,
  { guard = false, serializer = "json" }: { guard?: boolean; serializer?: string } = {},
): ResultRecord {
  const document = encodeResultMeta({
    taskId,
    state,
    result,
    traceback: null,
    children: [],
    dateDone: state === "STARTED" ? null : "2026-11-22T14:26:34.397736+00:00",
    groupId: null,
    parentId: null,
  }, serializer);
  return { taskId, state, document, guard, replyTo: null };
}

export { stored };

/** Waits for results as AsyncResult does: resolves when a final state of every id was reported. */
export function awaited(
  backend: Backend,
  ids: readonly string[],
): { told: ResultMeta[]; ready: Promise<ResultMeta[]> } {
  const told: ResultMeta[] = [];
  const last = new Map<string, ResultMeta>();
  const ready = new Promise<ResultMeta[]>((resolve, reject) => {
    const watch = backend.watch(ids, (meta) => {
      told.push(meta);
      if (meta.state !== "SUCCESS" && meta.state !== "FAILURE") return;
      last.set(meta.taskId, meta);
      watch.drop(meta.taskId);
      if (last.size === ids.length) resolve(ids.map((id) => last.get(id)!));
    }, reject);
  });
  return { told, ready };
}

const FAILURE: WireException = { excType: "ValueError", excModule: "builtins", args: ["boom ✗"] };

/** Runs the suite. `open` is called once; every step uses new ids. */
export function backendConformance(name: string, open: () => Promise<StorePlace>): void {
  Deno.test(`backend ${name}`, async (t) => {
    const world: World = realTestWorld();
    await using place = await open();
    await using ours = await openBackend(world, place.url, backendOptions());
    await using theirs = await openBackend(world, place.url, backendOptions());
    const ids = (count: number): string[] => Array.from({ length: count }, () => world.random.id());
    const id = (): string => world.random.id();
    const pair: Pair = { world, place, ours, theirs, id, ids };
    await storing(t, pair);
    await waiting(t, pair);
    await groups(t, pair);
    await chords(t, pair);
    await t.step("close: a second call has no effect; waits and later stores are rejected", async () => {
      const closed = await openBackend(world, place.url, backendOptions());
      const last = id();
      const waiting = assert.rejects(awaited(closed, ids(2)).ready, /The result store is closed/);
      const kept = stored(closed, resultRecord(last, "SUCCESS", "last words"));
      await closed.close();
      await closed.close();
      await waiting;
      await assert.rejects(awaited(closed, ids(1)).ready, /The result store is closed/);
      await kept;
      assert.equal((await ours.fetch(last))?.result, "last words");
      await assert.rejects(stored(closed, resultRecord(id(), "SUCCESS", 1)), /closed/);
    });
  });
}

interface Pair {
  world: World;
  place: StorePlace;
  ours: Backend;
  theirs: Backend;
  id: () => string;
  ids: (count: number) => string[];
}

async function storing(t: Deno.TestContext, { world, place, ours, theirs, id, ids }: Pair): Promise<void> {
  await t.step("fetch: null for a result that was never stored", async () => {
    assert.equal(await ours.fetch(id()), null);
    assert.deepEqual(await ours.fetchMany(ids(2)), [null, null]);
    assert.deepEqual(await ours.fetchMany([]), []);
  });
  await t.step("store: the other backend reads it", async () => {
    const task = id();
    await stored(ours, resultRecord(task, "SUCCESS", { sum: 3, text: "ß 漢字 😀 \u2028", none: null }));
    const meta = await theirs.fetch(task);
    assert.equal(meta?.taskId, task);
    assert.equal(meta?.state, "SUCCESS");
    assert.deepEqual(meta?.result, { sum: 3, text: "ß 漢字 😀 \u2028", none: null });
    assert.equal(meta?.dateDone, "2026-11-22T14:26:34.397736+00:00");
    assert.deepEqual(meta?.children, []);
  });
  await t.step("store: a failure keeps its exception", async () => {
    const task = id();
    await stored(ours, resultRecord(task, "FAILURE", FAILURE));
    assert.deepEqual((await theirs.fetch(task))?.result, FAILURE);
  });
  await t.step("store: states of one task are kept in order, the last one stays", async () => {
    const task = id();
    ours.store(resultRecord(task, "STARTED", { pid: 1, hostname: "w@h" }), null);
    ours.store(resultRecord(task, "RETRY", FAILURE), null);
    ours.store(resultRecord(task, "SUCCESS", 7), null);
    await ours.flush();
    assert.equal((await theirs.fetch(task))?.state, "SUCCESS");
    await stored(ours, resultRecord(task, "FAILURE", FAILURE));
    assert.equal((await theirs.fetch(task))?.state, "FAILURE", "without guard it is overwritten");
  });
  await t.step("store: guard keeps a SUCCESS and overwrites everything else", async () => {
    const [done, failed, none] = ids(3) as [string, string, string];
    await stored(ours, resultRecord(done, "SUCCESS", 1));
    await stored(ours, resultRecord(failed, "FAILURE", FAILURE));
    await Promise.all([done, failed, none].flatMap((task) => [
      stored(theirs, resultRecord(task, "STARTED", null, { guard: true })),
      stored(theirs, resultRecord(task, "SUCCESS", 2, { guard: true })),
    ]));
    const metas = await ours.fetchMany([done, failed, none]);
    assert.deepEqual(metas.map((meta) => meta?.result), [1, 2, 2]);
  });
  await t.step("store: a guarded retry keeps final states and overwrites others", async () => {
    const ends = { SUCCESS: 1, FAILURE, REVOKED: { ...FAILURE, excType: "TaskRevokedError" }, STARTED: null };
    for (const [state, value] of Object.entries(ends)) {
      const task = id();
      await stored(ours, resultRecord(task, state, value));
      await stored(theirs, resultRecord(task, "RETRY", FAILURE, { guard: true }));
      assert.equal((await ours.fetch(task))?.state, state === "STARTED" ? "RETRY" : state);
    }
  });
  await t.step("store: thousands in one turn, fetched in the order asked for", async () => {
    const many = ids(3000);
    let dones = 0;
    many.forEach((task, n) =>
      ours.store(resultRecord(task, "SUCCESS", n), (error) => error === null && dones++)
    );
    await ours.flush();
    assert.equal(dones, 3000);
    const asked = [many[2999]!, id(), many[0]!];
    assert.deepEqual((await theirs.fetchMany(asked)).map((meta) => meta?.result ?? null), [2999, null, 0]);
    const all = await theirs.fetchMany(many);
    assert.ok(all.every((meta, n) => meta?.result === n));
  });
  await t.step("store: documents of a megabyte", async () => {
    const tasks = ids(6);
    const large = "ä".repeat(512 * 1024);
    await Promise.all(tasks.map((task) => stored(ours, resultRecord(task, "SUCCESS", large))));
    for (const meta of await theirs.fetchMany(tasks)) assert.equal(meta?.result, large);
  });
  await t.step("store: documents of a binary serializer", async () => {
    await loadSerializer("msgpack");
    const options = backendOptions({ serializer: "msgpack" });
    await using one = await openBackend(world, place.url, options);
    await using other = await openBackend(world, place.url, options);
    const task = id();
    const bytes = new Uint8Array([0, 13, 10, 255, 128]);
    const { ready } = awaited(other, [task]);
    await stored(one, resultRecord(task, "SUCCESS", { bytes, text: "漢" }, { serializer: "msgpack" }));
    const [told] = await ready;
    const { bytes: back, text } = told!.result as { bytes: Uint8Array; text: string };
    assert.deepEqual([...back], [...bytes]);
    assert.equal(text, "漢");
    assert.deepEqual((await other.fetch(task))?.result, told!.result);
    await one.startChord("g" + task, 1);
    const members = await countChordPart(other, part("g" + task, 0, "m", "SUCCESS", { x: 1 }));
    assert.deepEqual(members, [
      { taskId: "m", state: "SUCCESS", result: { x: 1 }, sentErrbacks: [], traceparents: [] },
    ]);
  });
  await t.step("forget: the result is gone for both backends", async () => {
    const task = id();
    await stored(ours, resultRecord(task, "SUCCESS", 1));
    await theirs.forget(task);
    assert.equal(await ours.fetch(task), null);
  });
  await t.step("store: a result expires", async () => {
    await using brief = await openBackend(world, place.url, backendOptions({ expiresSeconds: 1 }));
    const task = id();
    await stored(brief, resultRecord(task, "SUCCESS", 1));
    assert.equal((await ours.fetch(task))?.result, 1);
    await eventually(async () => await ours.fetch(task) === null, "the result expired", { everyMs: 50 });
    await brief.cleanup();
  });
}

async function waiting(t: Deno.TestContext, { ours, theirs, id, ids }: Pair): Promise<void> {
  await t.step("watch: reports results stored later, in order", async () => {
    const task = id();
    const { told, ready } = awaited(ours, [task]);
    await stored(theirs, resultRecord(task, "STARTED", { pid: 1, hostname: "h" }));
    await eventually(() => told.length > 0, "STARTED was told");
    await stored(theirs, resultRecord(task, "SUCCESS", "late"));
    assert.equal((await ready)[0]?.result, "late");
    assert.deepEqual(told.map((meta) => meta.state), ["STARTED", "SUCCESS"]);
  });
  await t.step("watch: reports a result that is stored already, after watch has returned", async () => {
    const task = id();
    await stored(theirs, resultRecord(task, "SUCCESS", "early"));
    let isReturned = false;
    const meta = await new Promise<ResultMeta>((resolve, reject) => {
      ours.watch([task], (told) => isReturned ? resolve(told) : reject(new Error("too soon")), reject);
      isReturned = true;
    });
    assert.equal(meta.result, "early");
  });
  await t.step("watch: reports the backend's own results too", async () => {
    const task = id();
    const { ready } = awaited(ours, [task]);
    ours.store(resultRecord(task, "SUCCESS", "own"), null);
    assert.equal((await ready)[0]?.result, "own");
  });
  await t.step("watch: a store racing with the start of the wait is never missed", async () => {
    for (let round = 0; round < 30; round++) {
      const tasks = ids(5);
      for (const task of tasks) theirs.store(resultRecord(task, "SUCCESS", round), null);
      const { ready } = awaited(ours, tasks);
      assert.equal((await ready).length, 5);
    }
  });
  await t.step("watch: many ids, some stored already, more added later", async () => {
    const before = ids(700);
    const after = ids(700);
    for (const task of before) theirs.store(resultRecord(task, "SUCCESS", "b"), null);
    await theirs.flush();
    let count = 0;
    const all = Promise.withResolvers<void>();
    const seen = new Set<string>();
    const watch = ours.watch(before, (meta) => {
      count++;
      seen.add(meta.taskId);
      if (seen.size === 1400) all.resolve();
    }, all.reject);
    watch.add(after);
    for (const task of after) theirs.store(resultRecord(task, "SUCCESS", "a"), null);
    await all.promise;
    assert.equal(count, 1400, "each is told once");
    watch.close();
    watch.close();
  });
  await t.step("watch: reports nothing after drop and close; other waits for the same id go on", async () => {
    const task = id();
    const dropped: ResultMeta[] = [];
    const watch = ours.watch([task], (meta) => dropped.push(meta), () => {});
    const { ready } = awaited(ours, [task]);
    watch.drop(task);
    await stored(theirs, resultRecord(task, "SUCCESS", 1));
    assert.equal((await ready)[0]?.result, 1);
    assert.deepEqual(dropped, []);
    watch.close();
    const again = awaited(ours, [task]);
    assert.equal((await again.ready)[0]?.result, 1, "waiting anew finds it");
  });
}

async function groups(t: Deno.TestContext, { ours, theirs, id }: Pair): Promise<void> {
  await t.step("saveGroup, fetchGroup, deleteGroup", async () => {
    const group = id();
    const tuple = JSON.stringify([[group, null], [[["a", null], null], [["ü", null], null]]]);
    assert.equal(await ours.fetchGroup(group), null);
    await ours.saveGroup(group, tuple);
    assert.deepEqual(JSON.parse((await theirs.fetchGroup(group))!), JSON.parse(tuple));
    await theirs.deleteGroup(group);
    assert.equal(await ours.fetchGroup(group), null);
  });
}

async function chords(t: Deno.TestContext, { ours, theirs, id, ids }: Pair): Promise<void> {
  if (!ours.countsChords) return;
  await t.step("countChordPart: the last member gets all members in order of index", async () => {
    const group = id();
    await ours.startChord(group, 3);
    assert.equal(await countChordPart(theirs, part(group, 2, "c", "SUCCESS", { v: "ä" })), null);
    assert.equal(await countChordPart(ours, part(group, 0, "a", "SUCCESS", null)), null);
    const members = await countChordPart(theirs, part(group, 1, "b", "FAILURE", FAILURE));
    assert.deepEqual(members, [
      { taskId: "a", state: "SUCCESS", result: null, sentErrbacks: [], traceparents: [] },
      { taskId: "b", state: "FAILURE", result: FAILURE, sentErrbacks: [], traceparents: [] },
      { taskId: "c", state: "SUCCESS", result: { v: "ä" }, sentErrbacks: [], traceparents: [] },
    ]);
    await ours.endChord(group);
    assert.equal(
      await countChordPart(ours, part(group, 0, "a", "SUCCESS", null)),
      null,
      "nothing after the end",
    );
  });
  await t.step(
    "countChordPart: a header sent again after its end does not complete again",
    async () => {
      const group = id();
      for (const time of ["first", "second"]) {
        await ours.startChord(group, 2);
        await countChordPart(ours, part(group, 0, "a", "SUCCESS", 1));
        const members = await countChordPart(theirs, part(group, 1, "b", "SUCCESS", 2));
        assert.equal(members?.length, time === "first" ? 2 : undefined, time);
        if (members) await ours.endChord(group);
      }
      const other = id();
      await ours.startChord(other, 1);
      assert.equal((await countChordPart(ours, part(other, 0, "a", "SUCCESS", 1)))?.length, 1);
    },
  );
  await t.step("countChordPart: members counted before the size is known", async () => {
    const group = id();
    assert.equal(await countChordPart(ours, part(group, 0, "a", "SUCCESS", 1)), null);
    await theirs.startChord(group, 2);
    assert.equal((await countChordPart(ours, part(group, 1, "b", "SUCCESS", 2)))?.length, 2);
  });
  await t.step("countChordPart: a member counted twice counts once, with its last result", async () => {
    const group = id();
    await ours.startChord(group, 2);
    assert.equal(await countChordPart(ours, part(group, 0, "a", "FAILURE", FAILURE)), null);
    assert.equal(await countChordPart(theirs, part(group, 0, "a", "SUCCESS", 1)), null);
    assert.equal(await countChordPart(theirs, part(group, 0, "a", "SUCCESS", 1)), null);
    const members = await countChordPart(theirs, part(group, 1, "b", "SUCCESS", 2));
    assert.deepEqual(members?.map((member) => member.result), [1, 2]);
    assert.equal(
      await countChordPart(ours, part(group, 0, "a", "SUCCESS", 1)),
      null,
      "the other task gets nothing",
    );
    const again = await countChordPart(ours, part(group, 1, "b", "SUCCESS", 2));
    assert.equal(again?.length, 2, "run again after a crash, the one that completed it goes on");
  });
  await t.step(
    "countChordParts: parts of two headers at once, some repeated, complete each once",
    async () => {
      const [one, two] = [id(), id()];
      await ours.startChord(one, 8);
      await ours.startChord(two, 3);
      const of = (group: string, n: number, value: unknown = n) => part(group, n, `t${n}`, "SUCCESS", value);
      const counted = async (parts: ChordPart[]) => {
        const headers = await ours.countChordParts(parts);
        return await Promise.all(headers.map(async (header) => ({
          by: header.part.taskId,
          results: (await header.members())!.map((member) => member.result),
        })));
      };
      assert.deepEqual(await counted([0, 1, 2, 3].map((n) => of(one, n))), []);
      const again = [
        of(one, 2, "again"),
        of(one, 3),
        of(one, 4),
        of(two, 0),
        of(two, 1),
        of(one, 5),
        of(one, 5, "once"),
      ];
      assert.deepEqual(await counted(again), []);
      assert.deepEqual(await counted([of(one, 6), of(one, 7), of(two, 2)]), [
        { by: "t7", results: [0, 1, "again", 3, 4, "once", 6, 7] },
        { by: "t2", results: [0, 1, 2] },
      ]);
      assert.deepEqual(
        await counted([of(one, 6), of(two, 0), of(two, 1)]),
        [],
        "who completed nothing gets nothing",
      );
      assert.deepEqual((await counted([of(one, 6), of(one, 7)])).map((header) => header.by), ["t7"]);
    },
  );
  await t.step(
    "countChordParts: a header that was ended meanwhile has all its members or none",
    async () => {
      const group = id();
      await ours.startChord(group, 2);
      const parts = [part(group, 0, "a", "SUCCESS", 1), part(group, 1, "b", "SUCCESS", 2)];
      const [header] = await ours.countChordParts(parts);
      await ours.endChord(group);
      await ours.countChordParts(parts.slice(0, 1));
      const members = await header!.members();
      assert.deepEqual(members?.map((member) => member.result) ?? [1, 2], [1, 2]);
    },
  );
  await t.step(
    "countChordParts: a surplus member after the last one does not block the chord",
    async () => {
      const group = id();
      await ours.startChord(group, 2);
      const [header] = await ours.countChordParts([
        part(group, 0, "a", "SUCCESS", 1),
        part(group, 1, "b", "SUCCESS", 2),
      ]);
      assert.deepEqual(await ours.countChordParts([part(group, null, "stray", "SUCCESS", 3)]), []);
      const members = await header!.members();
      assert.deepEqual(members?.slice(0, 2).map((member) => member.result), [1, 2]);
    },
  );
  await t.step(
    "countChordParts: members have their spans; a second run of a member replaces the first",
    async () => {
      const group = id();
      await ours.startChord(group, 4);
      const traced = (n: number, span: string, result: number) => ({
        ...part(group, n, `t${n}`, "SUCCESS", result),
        traceparent: `00-0af7651916cd43dd8448eb211c80319c-${span.repeat(16)}-01`,
      });
      await ours.countChordParts([traced(0, "a", 0), traced(1, "b", 1), traced(2, "c", 2)]);
      assert.equal(await countChordPart(theirs, traced(1, "d", 1)), null);
      assert.deepEqual(await ours.countChordParts([traced(0, "e", 0), traced(1, "f", 7)]), []);
      const members = await countChordPart(theirs, part(group, 3, "t3", "SUCCESS", 3));
      assert.deepEqual(members!.map(({ result }) => result), [0, 7, 2, 3]);
      const spans = members!.map(({ traceparents }) => traceparents.map((one) => one[36]));
      assert.deepEqual(spans, [["e"], ["f"], ["c"], []]);
    },
  );
  await t.step("countChordParts: no parts complete nothing", async () => {
    assert.deepEqual(await ours.countChordParts([]), []);
  });
  await t.step("growChord: the chord waits for one more member", async () => {
    const group = id();
    await ours.startChord(group, 1);
    await theirs.growChord(group, 1);
    assert.equal(await countChordPart(ours, part(group, 0, "a", "SUCCESS", 1)), null);
    assert.equal((await countChordPart(ours, part(group, 0, "b", "SUCCESS", 2)))?.length, 2);
  });
  await t.step("countChordPart: counted at once by two backends, exactly one gets the members", async () => {
    for (let round = 0; round < 10; round++) {
      const group = id();
      const size = 40;
      await ours.startChord(group, size);
      const results: (ChordMember[] | null)[] = await Promise.all(
        Array.from(
          { length: size },
          (_, n) => countChordPart(n % 2 ? ours : theirs, part(group, n, `t${n}`, "SUCCESS", n)),
        ),
      );
      const got = results.filter((members) => members !== null);
      assert.equal(got.length, 1);
      assert.deepEqual(got[0]!.map((member) => member.result), Array.from({ length: size }, (_, n) => n));
    }
  });
  await t.step("countChordPart: a header saved as a group keeps the shape of its groups", async () => {
    const [group, inner, a, b, c] = ids(5) as [string, string, string, string, string];
    const tuple = [[group, null], [[[a, null], null], [[inner, null], [[[b, null], null], [
      [c, null],
      null,
    ]]]]];
    await ours.saveGroup(group, JSON.stringify(tuple));
    await ours.startChord(group, 3);
    for (const [n, task] of [a, b, c].entries()) await stored(theirs, resultRecord(task, "SUCCESS", n));
    await countChordPart(theirs, part(group, 0, a, "SUCCESS", 0));
    await countChordPart(theirs, part(group, 1, b, "SUCCESS", 1));
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const members = await countChordPart(theirs, { ...part(group, 1, c, "SUCCESS", 2), traceparent });
    assert.deepEqual(members?.map((member) => member.result), [0, [1, 2]]);
    assert.deepEqual(members?.map((member) => member.traceparents), [[], [traceparent]]);
  });
}

function part(
  groupId: string,
  groupIndex: number | null,
  taskId: string,
  state: string,
  result: unknown,
): ChordPart {
  const value = result === FAILURE ? encodeException(FAILURE) : result;
  return { groupId, groupIndex, taskId, state, result: toJson(value) };
}
