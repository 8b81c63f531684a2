/** A slot's engine, with a runner that does what none should. */

import assert from "node:assert/strict";
import { bareOutcome, type Outcome } from "../../../lib/app/mod.ts";
import type { SlotRunner } from "../../../lib/pool/mod.ts";
import { SlotEngine } from "../../../lib/pool/child/engine.ts";
import { FRAME, FrameReader, FrameWriter } from "../../../lib/pool/link/frame.ts";
import { appendJobs, decodeOutcome } from "../../../lib/pool/link/slot_message.ts";
import { fakeWorld } from "../../support/fake_world.ts";

for (const isConcurrent of [false, true]) {
  const kind = isConcurrent ? "concurrent" : "sequential";
  Deno.test(`SlotEngine, ${kind}: a runner that throws, rejects or tells what no frame holds loses that job alone`, async () => {
    const outcomes: Outcome[] = [];
    const reader = new FrameReader();
    const engine = new SlotEngine(fakeWorld(), {
      send: (bytes) =>
        reader.feed(bytes, (frame) => {
          if (frame.type === FRAME.outcome) outcomes.push(decodeOutcome(frame));
        }),
      drained: () => null,
      onStopped: () => {},
    }, { isConcurrent, journal: null, memoryKib: null });
    const fine = ({ seq }: { seq: number }) => bareOutcome(seq, "ignore", "", "");
    const ways: SlotRunner["run"][] = [
      () => {
        throw new Error("thrown");
      },
      () => Promise.reject(new Error("rejected")),
      // A head that JSON refuses stands for a frame that is too large.
      ({ seq }) => ({ ...bareOutcome(seq, "failure", "", ""), requeue: Symbol("s") as never }),
      fine,
    ];
    const runner: SlotRunner = {
      run: (job) => ways[job.seq]!(job),
      interrupt() {},
      current: () => null,
      close: () => Promise.resolve(),
    };
    engine.start(runner);
    const writer = new FrameWriter();
    const job = { envelope: "", queue: "q", redelivered: false, timeLimit: null, softTimeLimit: null };
    appendJobs(writer, 1, ways.map((_, seq) => ({ ...job, seq })));
    engine.feed(writer.take());
    while (engine.busy > 0) await Promise.resolve();
    engine.flush();
    outcomes.sort((a, b) => a.seq - b.seq);
    assert.deepEqual(outcomes.map(({ kind }) => kind), ["lost", "lost", "lost", "ignore"]);
    assert.match(outcomes[0]!.summary, /^Cannot report the outcome of the task: thrown$/);
    assert.match(outcomes[1]!.summary, /: rejected$/);
    assert.match(outcomes[2]!.summary, /: Cannot encode .*symbol$/);
  });
}
