/** The pool of slots on a fake clock, with links that only keep what they are sent. */

import assert from "node:assert/strict";
import { bareOutcome, type Outcome } from "../../../lib/app/mod.ts";
import { encodeFrame, FRAME, FrameReader, FrameWriter } from "../../../lib/pool/link/frame.ts";
import type { JournalReader, JournalRecord } from "../../../lib/pool/link/journal.ts";
import type { Link, LinkEvents, LinkFactory } from "../../../lib/pool/link/link.ts";
import type { Job } from "../../../lib/pool/mod.ts";
import { appendOutcome, decodeJobs } from "../../../lib/pool/link/slot_message.ts";
import { SlotPool } from "../../../lib/pool/slot_pool.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { poolEvents, poolOptions } from "../../support/pools.ts";

/** A slot under the test's hand. */
class HandLink implements Link {
  readonly frames: { number: number; seqs: number[] }[] = [];
  readonly interrupts: string[] = [];
  readonly signals: string[] = [];
  recalls = 0;
  /** Frames asked back by the journal, and whether the slot has not begun them. */
  readonly recalled: number[] = [];
  isRecallable = true;
  isStopped = false;
  journal: JournalReader | null = null;
  record: JournalRecord | null = null;
  #reader = new FrameReader();

  constructor(readonly pid: number, readonly events: LinkEvents) {}

  askJournal(): void {
    this.events.onBytes(encodeFrame(FRAME.journalled, "/journal"));
  }

  openJournal(): void {
    this.journal = {
      read: () => this.record,
      recall: (frame) => {
        this.recalled.push(frame);
        return this.isRecallable;
      },
      close: () => Promise.resolve(),
    };
  }

  send(bytes: Uint8Array): void {
    this.#reader.feed(bytes, (frame) => {
      if (frame.type === FRAME.jobs) {
        const { frameNumber, jobs } = decodeJobs(frame, () => assert.fail("nothing is kept"));
        this.frames.push({ number: frameNumber, seqs: jobs.map(({ seq }) => seq) });
      } else if (frame.type === FRAME.interrupt) this.interrupts.push(frame.head);
      else if (frame.type === FRAME.recall) this.recalls++;
      else if (frame.type === FRAME.stop) this.isStopped = true;
    });
  }

  kill(signal: string): void {
    this.signals.push(signal);
  }

  release(): void {}

  ready(): void {
    this.events.onBytes(encodeFrame(FRAME.ready, "0"));
  }

  fail(text: string): void {
    this.events.onBytes(encodeFrame(FRAME.failed, JSON.stringify({ text, exitCode: 64 })));
    this.end(1);
  }

  done(...seqs: number[]): void {
    const writer = new FrameWriter();
    for (const seq of seqs) appendOutcome(writer, bareOutcome(seq, "success", "", ""));
    this.events.onBytes(writer.take());
  }

  returned(...seqs: number[]): void {
    const writer = new FrameWriter();
    for (const seq of seqs) appendOutcome(writer, bareOutcome(seq, "returned", "", ""));
    this.events.onBytes(writer.take());
  }

  end(code: number, signal: string | null = null): void {
    this.events.onEnded({ code, signal, lastOutput: "" });
  }
}

function rig(concurrency: number, options: { isConcurrent?: boolean; maxTasksPerChild?: number } = {}) {
  const world = fakeWorld();
  const links: HandLink[] = [];
  const factory: LinkFactory = {
    open(_init, events) {
      const link = new HandLink(100 + links.length, events);
      links.push(link);
      return link;
    },
    close: () => Promise.resolve(),
  };
  const accepted: number[] = [];
  const outcomes: Outcome[] = [];
  const pool = new SlotPool(
    world,
    { name: "processes", processPrefix: "ForkPoolWorker", isConcurrent: options.isConcurrent ?? false },
    factory,
    poolOptions({ concurrency, maxTasksPerChild: options.maxTasksPerChild ?? null, procAliveTimeout: 4 }),
    poolEvents({
      onAccepted: (jobs) => void accepted.push(...jobs.map(({ seq }) => seq)),
      onOutcomes: (batch) => void outcomes.push(...batch),
    }),
  );
  return { world, links, pool, accepted, outcomes };
}

function jobs(count: number, more: Partial<Job> = {}, from = 1): Job[] {
  return Array.from({ length: count }, (_, n) => ({
    seq: from + n,
    name: "t",
    id: `${from + n}`,
    envelope: "{}",
    queue: "q",
    redelivered: false,
    timeLimit: null,
    softTimeLimit: null,
    expectedMs: 0.01,
    ...more,
  }));
}

/** Started, every slot ready and with its journal. */
async function started(concurrency: number, options: Parameters<typeof rig>[1] = {}) {
  const made = rig(concurrency, options);
  const start = made.pool.start();
  for (const link of made.links) link.ready();
  await start;
  await made.world.clock.advance(100);
  return made;
}

async function end({ pool, links }: ReturnType<typeof rig>): Promise<void> {
  const closing = pool.terminateAll();
  for (const link of links) if (link.signals.includes("SIGKILL")) link.end(-1, "SIGKILL");
  await closing;
  await pool.close();
}

const kinds = (outcomes: Outcome[]) => outcomes.map(({ seq, kind }) => `${seq} ${kind}`);

Deno.test("SlotPool: one frame runs, one waits ahead, more stay in the pool", async () => {
  const all = await started(1);
  const { pool, links, accepted } = all;
  assert.equal(pool.free, 1, "unknown jobs go one by one");
  pool.submit(jobs(1));
  links[0]!.done(1);
  assert.equal(pool.free, 64);
  pool.submit(jobs(130, {}, 2));
  assert.deepEqual(links[0]!.frames.map(({ seqs }) => seqs.length), [1, 64, 64]);
  assert.equal(pool.free, 0);
  assert.equal(accepted.length, 65, "the frame ahead is not accepted");
  links[0]!.done(...links[0]!.frames[1]!.seqs);
  assert.equal(accepted.length, 131 - 2, "now it is");
  assert.deepEqual(links[0]!.frames[3]!.seqs, [130, 131]);
  await end(all);
});

Deno.test("SlotPool: a pool that is closed while it starts opens no more slots, and waits for none", async () => {
  const { world, links, pool } = rig(1000);
  const starting = assert.rejects(pool.start(), /closed before it had started/);
  assert.equal(links.length, 16);
  const closing = pool.close();
  for (const link of links) {
    assert.deepEqual(link.signals, ["SIGKILL"]);
    link.end(137);
  }
  await Promise.all([starting, closing]);
  await world.clock.settle();
  assert.equal(links.length, 16);
});

Deno.test("SlotPool: without a journal jobs go one by one", async () => {
  const all = rig(1);
  const start = all.pool.start();
  all.links[0]!.ready();
  await start;
  all.pool.submit(jobs(3));
  assert.deepEqual(all.links[0]!.frames.map(({ seqs }) => seqs), [[1], [2]]);
  all.links[0]!.end(-1, "SIGKILL");
  assert.deepEqual(kinds(all.outcomes), ["1 lost"]);
  all.links[1]!.ready();
  assert.deepEqual(all.links[1]!.frames.map(({ seqs }) => seqs), [[2], [3]]);
  await end(all);
});

Deno.test("SlotPool: of a killed slot's frame only the job that ran is lost", async () => {
  const all = await started(1);
  const { pool, links, accepted, outcomes } = all;
  pool.submit(jobs(6));
  const [frame] = links[0]!.frames;
  assert.deepEqual(frame!.seqs, [1, 2, 3, 4, 5, 6]);
  links[0]!.done(1);
  const ended = [2, 3].map((seq) => bareOutcome(seq, "success", "", ""));
  links[0]!.record = { frameNumber: frame!.number, outcomes: ended };
  links[0]!.end(-1, "SIGKILL");
  assert.deepEqual(kinds(outcomes), ["1 success", "2 success", "3 success", "4 lost"]);
  assert.equal(outcomes[3]!.summary, "Worker exited prematurely: signal 9 (SIGKILL) Job: 4.");
  await all.world.clock.advance(200);
  links[1]!.ready();
  assert.deepEqual(links[1]!.frames.map(({ seqs }) => seqs), [[5], [6]]);
  assert.deepEqual(accepted, [1, 2, 3, 4, 5, 6], "accepted once each");
  await end(all);
});

Deno.test("SlotPool: a frame that the dead slot had not begun runs whole elsewhere", async () => {
  const all = await started(1);
  const { pool, links, outcomes } = all;
  pool.submit(jobs(1));
  const { number } = links[0]!.frames[0]!;
  links[0]!.record = { frameNumber: number, outcomes: [bareOutcome(1, "success", "", "")] };
  links[0]!.done(1);
  pool.submit(jobs(3, {}, 2));
  links[0]!.end(3);
  assert.deepEqual(kinds(outcomes), ["1 success"]);
  links[1]!.ready();
  assert.deepEqual(links[1]!.frames.map(({ seqs }) => seqs), [[2], [3]]);
  await end(all);
});

Deno.test("SlotPool: the hard limit is of the job that runs by the journal", async () => {
  const all = await started(1);
  const { pool, links, outcomes } = all;
  pool.submit(jobs(3, { timeLimit: 2, softTimeLimit: 1 }));
  links[0]!.record = { frameNumber: 1, outcomes: [bareOutcome(1, "success", "", "")] };
  await all.world.clock.advance(1010);
  assert.deepEqual(links[0]!.interrupts, ['{"seq":2,"reason":"soft","seconds":1}']);
  assert.deepEqual(links[0]!.signals, []);
  await all.world.clock.advance(1000);
  assert.deepEqual(links[0]!.signals, ["SIGKILL"]);
  links[0]!.end(-1, "SIGKILL");
  assert.deepEqual(kinds(outcomes), ["1 success", "2 timeout"]);
  assert.deepEqual([outcomes[1]!.summary, outcomes[1]!.exception], ["2", "TimeLimitExceeded(2)"]);
  await end(all);
});

Deno.test("SlotPool: jobs behind one that turns out long are recalled and run elsewhere", async () => {
  const all = await started(2);
  const { pool, links } = all;
  pool.submit(jobs(4));
  assert.deepEqual(links.map(({ frames }) => frames.map(({ seqs }) => seqs)), [[[1, 2]], [[3, 4]]]);
  links[1]!.done(3, 4);
  await all.world.clock.advance(60);
  assert.equal(links[0]!.recalls, 1);
  links[0]!.returned(2);
  assert.deepEqual(links[1]!.frames.at(-1)!.seqs, [2]);
  assert.deepEqual(all.accepted, [1, 2, 3, 4]);
  links[0]!.done(1);
  links[1]!.done(2);
  assert.equal(pool.busy, 0);
  await end(all);
});

Deno.test("SlotPool: one job of some milliseconds waits behind another, until a slot has nothing to do", async () => {
  const all = await started(2);
  const { pool, links } = all;
  const of = { expectedMs: 30 };
  pool.submit(jobs(2, of));
  assert.equal(pool.free, 2);
  pool.submit(jobs(2, of, 3));
  assert.equal(pool.free, 0);
  assert.deepEqual(links.map(({ frames }) => frames.map(({ seqs }) => seqs)), [[[1], [3]], [[2], [4]]]);
  assert.deepEqual(all.accepted, [1, 2], "what waits is not begun");
  links[1]!.done(2);
  links[1]!.done(4);
  assert.deepEqual(links[0]!.recalled, [2]);
  assert.deepEqual(links[1]!.frames.at(-1)!.seqs, [3]);
  links[0]!.done(1);
  // Sent there again before the slot has said that it noticed.
  pool.submit(jobs(1, of, 5));
  links[0]!.returned(3);
  links[1]!.done(3);
  links[0]!.done(5);
  assert.deepEqual(kinds(all.outcomes), ["2 success", "4 success", "1 success", "3 success", "5 success"]);
  assert.deepEqual(all.accepted, [1, 2, 4, 3, 5]);
  await end(all);
});

Deno.test("SlotPool: short jobs after longer ones go in frames again, though the slot is never idle", async () => {
  const all = await started(1);
  const { pool, links } = all;
  pool.submit(jobs(2, { expectedMs: 30 }));
  pool.submit(jobs(100, {}, 3));
  links[0]!.done(1);
  links[0]!.done(2);
  assert.deepEqual(links[0]!.frames.map(({ seqs }) => seqs.length), [1, 1, 1, 64]);
  links[0]!.done(3);
  assert.deepEqual(links[0]!.frames.at(-1)!.seqs.length, 35, "one ahead of the one that runs");
  await end(all);
});

Deno.test("SlotPool: what waits behind a job that turns out long goes back to the worker", async () => {
  const all = await started(1);
  const { pool, links, world } = all;
  pool.submit(jobs(2, { expectedMs: 30 }));
  await world.clock.advance(60);
  assert.deepEqual(kinds(all.outcomes), ["2 returned"]);
  assert.equal(pool.free, 0, "nothing waits behind that one again");
  assert.equal(pool.busy, 1);
  links[0]!.done(1);
  pool.submit(jobs(1, { expectedMs: 30 }, 2));
  // The slot meets the frame that was taken back, and then the job itself.
  links[0]!.returned(2);
  links[0]!.done(2);
  assert.deepEqual(kinds(all.outcomes), ["2 returned", "1 success", "2 success"]);
  await end(all);
});

Deno.test("SlotPool: a job taken back twice from a slot that stands still runs once", async () => {
  const all = await started(1);
  const { pool, links, world } = all;
  const of = { expectedMs: 30 };
  pool.submit(jobs(2, of));
  await world.clock.advance(60);
  links[0]!.done(1);
  // The slot has not met the frame that was taken back.
  pool.submit([...jobs(1, of, 3), ...jobs(1, of, 2)]);
  await world.clock.advance(60);
  assert.deepEqual(kinds(all.outcomes), ["2 returned", "1 success", "2 returned"]);
  links[0]!.returned(2);
  links[0]!.done(3);
  pool.submit(jobs(1, of, 2));
  links[0]!.returned(2);
  assert.deepEqual(links[0]!.frames.map(({ seqs }) => seqs), [[1], [2], [3], [2], [2]]);
  links[0]!.done(2);
  assert.deepEqual(kinds(all.outcomes).slice(3), ["3 success", "2 success"]);
  await end(all);
});

Deno.test("SlotPool: a job that was accepted and taken back is not accepted again", async () => {
  const all = await started(2);
  const { pool, links, world } = all;
  pool.submit(jobs(1, { expectedMs: 30 }));
  pool.submit(jobs(2, {}, 2));
  links[1]!.record = { frameNumber: 1, outcomes: [] };
  links[1]!.end(-1, "SIGKILL");
  // The other slot's second job, which that had accepted with the first, waits behind job 1.
  assert.deepEqual(links[0]!.frames.map(({ seqs }) => seqs), [[1], [3]]);
  await world.clock.advance(60);
  assert.deepEqual(links[0]!.recalled, [2]);
  links[0]!.done(1);
  links[0]!.returned(3);
  links[0]!.done(3);
  assert.deepEqual(kinds(all.outcomes), ["2 lost", "1 success", "3 success"]);
  assert.deepEqual(all.accepted, [1, 2, 3]);
  await end(all);
});

Deno.test("SlotPool: a job that a slot may have begun is left to it", async () => {
  const all = await started(2);
  const { pool, links } = all;
  pool.submit(jobs(4, { expectedMs: 30 }));
  links[0]!.isRecallable = false;
  links[1]!.done(2);
  links[1]!.done(4);
  assert.equal(links[1]!.frames.length, 2);
  // Neither has taken it: the slot gives it back.
  links[0]!.returned(3);
  assert.deepEqual(links[1]!.frames.at(-1)!.seqs, [3]);
  links[0]!.done(1);
  links[1]!.done(3);
  assert.equal(pool.busy, 0);
  await end(all);
});

Deno.test("SlotPool: start rejects with the child's own error where no slot comes up", async () => {
  const { pool, links } = rig(2);
  const start = pool.start();
  links[0]!.fail("no such module");
  links[1]!.fail("no such module");
  await assert.rejects(start, { name: "UsageError", message: "no such module", exitCode: 64 });
  await pool.close();
  assert.equal(links.length, 2);
});

Deno.test("SlotPool: a slot that keeps dying at its start is tried again with growing pauses", async () => {
  const all = await started(2);
  const { links, world } = all;
  links[0]!.done();
  await world.clock.advance(2000);
  links[0]!.end(-1, "SIGKILL");
  assert.equal(links.length, 3, "a slot that lived is replaced at once");
  const pauses: number[] = [];
  for (let n = 0; n < 6; n++) {
    const count: number = links.length;
    links.at(-1)!.fail("disk full");
    let waited = 0;
    while (links.length === count) {
      await world.clock.advance(50);
      waited += 50;
    }
    pauses.push(waited);
  }
  assert.deepEqual(pauses, [100, 200, 400, 800, 1600, 3200]);
  assert.equal(world.log.records.filter(({ message }) => message.includes("disk full")).length, 6);
  await end(all);
});

Deno.test("SlotPool: a slot that does not report in time is killed and replaced", async () => {
  const all = rig(1);
  const start = all.pool.start();
  await all.world.clock.advance(4000);
  assert.deepEqual(all.links[0]!.signals, ["SIGKILL"]);
  // It comes up at last, but it is dying: what it were given would be lost.
  all.links[0]!.ready();
  assert.equal(all.pool.free, 0);
  all.links[0]!.end(-1, "SIGKILL");
  await all.world.clock.advance(100);
  assert.equal(all.links.length, 2);
  // The next one has twice the time.
  await all.world.clock.advance(7000);
  assert.deepEqual(all.links[1]!.signals, []);
  all.links[1]!.ready();
  await start;
  await end(all);
});

Deno.test("SlotPool: a slot that is being ended gets no further job, whatever it still says", async () => {
  const all = await started(1);
  all.pool.submit(jobs(1, { timeLimit: 1, expectedMs: Infinity }));
  await all.world.clock.advance(1100);
  assert.deepEqual(all.links[0]!.signals, ["SIGKILL"]);
  // The job had ended just then.
  all.links[0]!.done(1);
  assert.equal(all.pool.free, 0);
  all.pool.submit([]);
  all.links[0]!.end(-1, "SIGKILL");
  assert.deepEqual(kinds(all.outcomes), ["1 success"]);
  all.links[1]!.ready();
  assert.ok(all.pool.free > 0);
  all.pool.submit([{ ...jobs(1)[0]!, seq: 2 }]);
  assert.deepEqual(all.links[0]!.frames.length, 1);
  assert.deepEqual(all.links[1]!.frames.map(({ seqs }) => seqs), [[2]]);
  all.links[1]!.done(2);
  await end(all);
});

Deno.test("SlotPool: maxTasksPerChild: the successor starts before the slot ends", async () => {
  const all = await started(1, { maxTasksPerChild: 3 });
  const { pool, links, outcomes } = all;
  pool.submit(jobs(5));
  assert.deepEqual(links[0]!.frames.map(({ seqs }) => seqs), [[1, 2, 3]]);
  assert.equal(links.length, 2);
  assert.equal(links[0]!.isStopped, false);
  links[0]!.done(1, 2, 3);
  assert.equal(links[0]!.isStopped, true);
  links[1]!.ready();
  links[0]!.end(0);
  links[1]!.done(4);
  links[1]!.done(5);
  assert.equal(outcomes.length, 5);
  // Its two tasks took no time: the next one is loaded before the third, and has nothing to do until then.
  assert.equal(links.length, 3);
  links[2]!.ready();
  assert.equal(pool.free, 64); // one frame, of the slot in service
  assert.deepEqual(pool.info().pids, [101]);
  pool.submit(jobs(2, { expectedMs: Infinity }, 6));
  assert.deepEqual(links.map(({ frames }) => frames.length), [1, 3, 1, 0]);
  await end(all);
});

Deno.test("SlotPool: maxTasksPerChild: a spare that cannot start is not tried again and again", async () => {
  const all = await started(1, { maxTasksPerChild: 4 });
  const { pool, links } = all;
  pool.submit(jobs(1, { expectedMs: Infinity }));
  assert.equal(links.length, 2);
  links[1]!.end(1);
  links[0]!.done(1);
  pool.submit(jobs(1, { expectedMs: Infinity }, 2));
  assert.equal(links.length, 2);
  await end(all);
});

Deno.test("SlotPool: a slot whose tasks listen to no signal is killed at once", async () => {
  const all = await started(1);
  all.pool.submit(jobs(1, { expectedMs: Infinity }));
  assert.equal(all.pool.terminate(1, "SIGTERM"), true);
  assert.deepEqual(all.links[0]!.signals, ["SIGKILL"]);
  all.links[0]!.end(-1, "SIGKILL");
  assert.deepEqual(kinds(all.outcomes), ["1 terminated"]);
  await end(all);
});

Deno.test("SlotPool: a signal that does not end a slot is followed by SIGKILL", async () => {
  const all = await started(1);
  all.links[0]!.events.onBytes(encodeFrame(FRAME.listens, "SIGTERM"));
  all.pool.submit(jobs(1, { expectedMs: Infinity }));
  assert.equal(all.pool.terminate(1, "SIGTERM"), true);
  assert.equal(all.pool.terminate(9, "SIGTERM"), false);
  await all.world.clock.advance(1100);
  assert.deepEqual(all.links[0]!.signals, ["SIGTERM", "SIGKILL"]);
  all.links[0]!.end(-1, "SIGKILL");
  assert.deepEqual(kinds(all.outcomes), ["1 terminated"]);
  await end(all);
});

Deno.test("SlotPool: an isolate of many tasks gives up one, and is ended where it cannot", async () => {
  const all = await started(10, { isConcurrent: true });
  const { pool, links, outcomes } = all;
  assert.equal(pool.free, 10);
  pool.submit(jobs(3, { timeLimit: 1 }));
  assert.deepEqual(all.accepted, [1, 2, 3]);
  links[0]!.done(2);
  await all.world.clock.advance(1010);
  assert.equal(links[0]!.interrupts.length, 2);
  assert.equal(links.length, 2, "its successor is loaded before it is needed");
  links[1]!.ready();
  assert.equal(pool.free, 8);
  const writer = new FrameWriter();
  appendOutcome(writer, bareOutcome(1, "timeout", "", ""));
  links[0]!.events.onBytes(writer.take());
  await all.world.clock.advance(400);
  assert.deepEqual(links[0]!.signals, ["SIGKILL"]);
  links[0]!.end(-1, "SIGKILL");
  assert.deepEqual(kinds(outcomes), ["2 success", "1 timeout", "3 timeout"]);
  assert.equal(outcomes[1]!.summary, "1");
  pool.submit(jobs(1, {}, 4));
  assert.deepEqual(links[1]!.frames.at(-1)!.seqs, [4]);
  links[1]!.done(4);
  await end(all);
});

Deno.test("SlotPool: what was loaded for an isolate that was not stuck is ended again", async () => {
  const all = await started(10, { isConcurrent: true });
  const { pool, links, world } = all;
  await world.clock.advance(1000);
  pool.submit(jobs(1, { timeLimit: 1 }));
  await world.clock.advance(600);
  links[1]!.ready();
  links[0]!.done(1);
  assert.equal(links[1]!.isStopped, false);
  await world.clock.advance(3000);
  assert.equal(links[1]!.isStopped, true);
  links[1]!.end(0);
  assert.equal(links.length, 2);
  assert.equal(pool.free, 10);
  await end(all);
});
