import assert from "node:assert/strict";
import { Ring } from "../../../lib/base/mod.ts";
import { jobsForFrame, shortJobsPerFrame } from "../../../lib/pool/feeding.ts";
import type { Job, PoolEvents, PoolOptions } from "../../../lib/pool/mod.ts";
import { poolFactory } from "../../../lib/pool/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

function job(seq: number, expectedMs: number): Job {
  const rest = { queue: "q", redelivered: false, timeLimit: null, softTimeLimit: null };
  return { seq, name: "t", id: `${seq}`, envelope: "{}", expectedMs, ...rest };
}

function queueOf(...expected: number[]): Ring<Job> {
  const queue = new Ring<Job>();
  expected.forEach((ms, n) => queue.push(job(n, ms)));
  return queue;
}

Deno.test("jobsForFrame: short jobs up to a millisecond and 64, an unknown one alone", () => {
  assert.equal(jobsForFrame(queueOf(0.3, 0.3, 0.3, 0.3), Infinity).length, 3);
  assert.equal(jobsForFrame(queueOf(Infinity, 0.1), Infinity).length, 1);
  assert.equal(jobsForFrame(queueOf(0.1, Infinity, 0.1), Infinity).length, 1);
  assert.equal(jobsForFrame(queueOf(30, 30), Infinity).length, 1);
  assert.equal(jobsForFrame(queueOf(...Array(100).fill(0)), Infinity).length, 64);
  assert.equal(jobsForFrame(queueOf(...Array(100).fill(0)), 5).length, 5);
});

Deno.test("shortJobsPerFrame: by expectation", () => {
  assert.deepEqual([Infinity, NaN, 5, 1, 0.3, 0.01, 0].map(shortJobsPerFrame), [1, 1, 1, 1, 3, 64, 64]);
});

Deno.test("poolFactory: Celery's aliases; another name is refused with the nearest", () => {
  const named = (name: string) =>
    poolFactory(name)(fakeWorld(), { concurrency: 1 } as PoolOptions, {} as PoolEvents).name;
  assert.deepEqual(["prefork", "gevent", "eventlet"].map(named), ["processes", "async", "async"]);
  assert.throws(() => poolFactory("proceses"), /did you mean 'processes'/);
  assert.throws(() => poolFactory("constructor"), { name: "UsageError" });
});
