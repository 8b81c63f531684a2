/** What is believed of a sandbox: an isolate that says anything at all, played by the test. */

import assert from "node:assert/strict";
import { bareOutcome, type Outcome, type SendOptions } from "../../../lib/app/mod.ts";
import type { OutgoingMessage } from "../../../lib/transport/mod.ts";
import type { RunnerHost } from "../../../lib/pool/mod.ts";
import { encodeFrame, FRAME, FrameReader, FrameWriter } from "../../../lib/pool/link/frame.ts";
import type { LinkEvents } from "../../../lib/pool/link/link.ts";
import { Sandboxes } from "../../../lib/pool/sandbox/sandbox.ts";
import { appendOutcome, appendPublish, decodeJobs, SentQueues } from "../../../lib/pool/link/slot_message.ts";
import { MiniWorker } from "../app/mini_worker.ts";
import { childOptions } from "../../support/pools.ts";

const CHORD = { task: "unit.body", args: [], kwargs: {}, options: { task_id: "body" }, subtask_type: null };

/** One task in a sandbox that is this object; what it has made known. */
class Played implements AsyncDisposable {
  readonly worker: MiniWorker;
  readonly told: unknown[] = [];
  readonly published: OutgoingMessage[] = [];
  readonly answers: unknown[] = [];
  #events: LinkEvents | null = null;
  #started = Promise.withResolvers<number>();
  #queues = new SentQueues();

  constructor(send?: boolean | string[]) {
    this.worker = new MiniWorker({}, (app) => {
      const permissions = send === undefined ? {} : { send };
      app.task("unit.boxed", { permissions, maxRetries: 3 }, () => null);
      for (const name of ["unit.next", "unit.body", "unit.other", "shop.add"]) app.task(name, () => null);
    });
    const { app } = this.worker;
    const host: RunnerHost = {
      onState: (seq, state, document) => void this.told.push(["state", seq, state, document]),
      onEvent: (seq, type, fields) => void this.told.push(["event", seq, type, fields]),
      log: (level, message, task) => void this.told.push(["log", level, message, task]),
      draining: () => {},
      publish: (batch) => Promise.resolve(void this.published.push(...batch)),
    };
    const reader = new FrameReader();
    this.worker.tracer.sandbox = new Sandboxes(app.world, childOptions("/tasks.ts"), host, {
      app,
      isShared: false,
      isolates: {
        open: (_spec, events) => {
          this.#events = events;
          return {
            send: (bytes) =>
              reader.feed(bytes, (frame) => {
                if (frame.type === FRAME.published) this.answers.push(JSON.parse(frame.head));
                if (frame.type !== FRAME.jobs) return;
                this.#started.resolve(decodeJobs(frame, () => assert.fail()).jobs[0]!.seq);
              }),
            kill: (signal) =>
              void app.world.clock.defer(() => events.onEnded({ code: -1, signal, lastOutput: "" })),
          };
        },
      },
    });
  }

  /** Runs the task; its number, and how it ends. */
  async run(options: SendOptions = {}): Promise<{ seq: number; ended: Promise<Outcome> }> {
    const message = await this.worker.message("unit.boxed", [], {}, { taskId: "own-id", ...options });
    const ended = Promise.resolve(this.worker.run(message));
    const seq = await this.#started.promise;
    this.say(encodeFrame(FRAME.ready, "0"));
    return { seq, ended };
  }

  say(bytes: Uint8Array): void {
    this.#events!.onBytes(bytes);
  }

  end(outcome: Outcome): void {
    const writer = new FrameWriter();
    appendOutcome(writer, outcome);
    this.say(writer.take());
  }

  /** Publishes; null, or what it was refused with. */
  async publish(out: OutgoingMessage): Promise<string | null> {
    const writer = new FrameWriter();
    appendPublish(writer, { id: 7, batch: [out], handOn: false }, this.#queues);
    this.say(writer.take());
    for (let turn = 0; this.answers.length === 0 && turn < 10; turn++) await Promise.resolve();
    const [, error] = this.answers.pop() as [number, { name: string; message: string } | null];
    return error && `${error.name}: ${error.message}`;
  }

  /** A call's message as the isolate would send it. */
  async call(name: string, options: SendOptions = {}): Promise<OutgoingMessage> {
    await this.worker.app.send(name, [], {}, options);
    return this.worker.waiting.pop()!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.worker[Symbol.asyncDispose]();
  }
}

Deno.test("a sandbox tells of its own task alone", async () => {
  await using box = new Played();
  const { seq, ended } = await box.run();
  for (const number of [seq + 1, -1, "x", null]) {
    box.say(encodeFrame(FRAME.state, JSON.stringify([number, "SUCCESS", 1]), "{}"));
    box.say(encodeFrame(FRAME.event, JSON.stringify([number, "task-progress", {}])));
  }
  box.end({ ...bareOutcome(seq + 1, "success", "1", ""), state: "SUCCESS", document: "{}" });
  assert.deepEqual(box.told, []);
  box.say(encodeFrame(FRAME.state, JSON.stringify([seq, "PROGRESS", 1]), "{}"));
  box.say(encodeFrame(FRAME.event, JSON.stringify([seq, "task-progress", { at: 1 }])));
  box.say(encodeFrame(FRAME.log, JSON.stringify(["CRITICAL", ["bank.transfer", "4711"]]), "sent"));
  box.say(encodeFrame(FRAME.log, JSON.stringify(["INFO", null]), "printed"));
  const label = { name: "unit.boxed", id: "own-id" };
  assert.deepEqual(box.told, [
    ["state", seq, "PROGRESS", "{}"],
    ["event", seq, "task-progress", { at: 1 }],
    ["log", "CRITICAL", "sent", label],
    ["log", "INFO", "printed", label],
  ]);
  box.end({ ...bareOutcome(seq, "success", "1", ""), state: "SUCCESS", document: "{}" });
  assert.equal((await ended).kind, "success");
  // Nobody's words are not taken for the worker's.
  box.say(encodeFrame(FRAME.log, JSON.stringify(["INFO", null]), "Task bank.transfer[4711] succeeded"));
  assert.deepEqual(box.told.at(-1), ["log", "INFO", "Sandbox: Task bank.transfer[4711] succeeded", null]);
});

Deno.test("what a sandbox cannot say ends it, with its task, and nothing else", async () => {
  const garbage: ((seq: number) => Uint8Array)[] = [
    () => new Uint8Array(64).fill(255),
    () => encodeFrame(FRAME.outcome, "no JSON"),
    () => encodeFrame(FRAME.outcome, "null"),
    () => encodeFrame(FRAME.state, "{}"),
    (seq) => encodeFrame(FRAME.state, JSON.stringify([seq, { status: 1 }, 1]), "{}"),
    (seq) => encodeFrame(FRAME.event, JSON.stringify([seq, "worker-offline", {}])),
    (seq) => encodeFrame(FRAME.event, JSON.stringify([seq, "task-x", null])),
    () => encodeFrame(FRAME.log, JSON.stringify(["SHOUT", null]), "x"),
    () => encodeFrame(FRAME.publish, "[1]"),
    (seq) =>
      encodeFrame(
        FRAME.outcome,
        JSON.stringify([seq, "returned", null, 0, "", "", null, false, false, null, 0, 0]),
      ),
    (seq) =>
      encodeFrame(
        FRAME.outcome,
        JSON.stringify([seq, "ignore", "SUCCESS", 0, "", "", null, false, false, null, 1, 0]),
      ),
    (seq) =>
      encodeFrame(
        FRAME.outcome,
        JSON.stringify([seq, "failure", null, 0, 5, "", null, false, false, null, 0, 0]),
      ),
  ];
  for (const [n, make] of garbage.entries()) {
    await using box = new Played();
    const { seq, ended } = await box.run();
    box.say(make(seq));
    const outcome = await ended;
    assert.equal(outcome.kind, "failure", `${n}`);
    assert.deepEqual(box.told, [], `${n}`);
  }
});

Deno.test("a sandbox sends nothing but itself and what its message names, unless its permissions name it", async () => {
  const refused = (name: string) =>
    `NotCapable: Requires send access to "${name}": name it in the permissions of the task, { send: ["${name}"] }`;
  await using box = new Played();
  const { app } = box.worker;
  const chain = [app.signature("unit.next").set({ taskId: "next-id" }).toJSON()];
  const { seq, ended } = await box.run({ chain: chain as never, link: app.signature("unit.body") });
  assert.equal(await box.publish(await box.call("shop.add")), refused("shop.add"));
  // Its retry is itself, under its own id; another's id with its name would give that one a result of its making.
  assert.equal(await box.publish(await box.call("unit.boxed", { taskId: "own-id", retries: 1 })), null);
  assert.equal(await box.publish(await box.call("unit.boxed", { taskId: "victim" })), refused("unit.boxed"));
  assert.equal(await box.publish(await box.call("unit.next", { taskId: "next-id" })), null);
  assert.equal(await box.publish(await box.call("unit.next", { taskId: "victim" })), refused("unit.next"));
  assert.equal(await box.publish(await box.call("unit.body")), null);
  // What comes after a call is called too.
  const link = app.signature("unit.other");
  assert.equal(await box.publish(await box.call("unit.body", { link })), refused("unit.other"));
  assert.equal(await box.publish(await box.call("unit.body", { linkError: link })), refused("unit.other"));
  box.end(bareOutcome(seq, "ignore", "", ""));
  await ended;
  assert.equal(await box.publish(await box.call("unit.body")), refused("unit.body"));
  assert.deepEqual(box.published.map(({ message }) => message.headers["task"]), [
    "unit.boxed",
    "unit.next",
    "unit.body",
  ]);
});

Deno.test("the permission to send is names and patterns, also of what a map or a canvas calls", async () => {
  await using box = new Played(["shop.*", "unit.next"]);
  const { app } = box.worker;
  await box.run();
  const may = async (
    name: string,
    args: unknown[],
    kwargs: Record<string, unknown> = {},
  ): Promise<boolean> => {
    await app.send(name, args, kwargs, {});
    return await box.publish(box.worker.waiting.pop()!) === null;
  };
  const call = (task: string, options = {}): Record<string, unknown> => ({
    task,
    args: [],
    kwargs: {},
    options,
  });
  assert.equal(await may("shop.add", []), true);
  assert.equal(await may("unit.next", []), true);
  assert.equal(await may("unit.nextto", []), false);
  assert.equal(await may("celery.starmap", [call("shop.add"), [[1]]]), true);
  assert.equal(await may("celery.starmap", [call("unit.other"), [[1]]]), false);
  assert.equal(await may("celery.map", [], { task: call("unit.other"), it: [1] }), false);
  assert.equal(await may("celery.group", [[call("shop.add"), call("unit.other")], null, "g", []]), false);
  assert.equal(await may("celery.group", [[call("shop.add"), call("unit.next")], null, "g", []]), true);
  assert.equal(await may("celery.chord", [[call("shop.add")], call("unit.other")]), false);
  assert.equal(await may("celery.starmap", [call("shop.add", { link: [call("unit.other")] }), [[1]]]), false);
  assert.equal(await may("celery.starmap", []), false);
  assert.equal(await may("celery.chord_unlock", ["group", call("shop.add")]), false);
  assert.equal(await may("celery.backend_cleanup", []), false);
});

Deno.test("no permission to send reaches remote control, events, or more queues than one", async () => {
  await using box = new Played(true);
  await box.run();
  const task = await box.call("shop.add");
  const body = JSON.stringify({ method: "shutdown", arguments: {}, destination: null });
  const command = { ...task.message, body, bodyEncoding: "none" as const, headers: { clock: 1 } };
  for (
    const out of [
      { ...task, exchange: "celery.pidbox", routingKey: "" },
      { ...task, exchange: "reply.celery.pidbox", routingKey: "x" },
      { ...task, exchange: "", routingKey: "w1@h.celery.pidbox" },
      { ...task, exchange: "celeryev", routingKey: "worker.offline" },
      { ...task, exchange: "", routingKey: "celeryev.1f" },
      {
        ...task,
        message: { ...task.message, headers: { ...task.message.headers, CC: ["w1@h.celery.pidbox"] } },
      },
      { ...task, message: command },
      { ...task, message: { ...task.message, properties: null as never } },
      { ...task, message: { ...task.message, headers: [] as never } },
    ]
  ) assert.notEqual(await box.publish(out), null, `${out.exchange} ${out.routingKey}`);
  assert.deepEqual(box.published, []);
  assert.equal(await box.publish(task), null);
});

Deno.test("a sandbox cannot have queues declared or bound otherwise than the worker's settings say", async () => {
  await using box = new Played(true);
  await box.run();
  const own = await box.call("shop.add");
  const other = await box.call("shop.add", { queue: "other" });
  assert.equal(await box.publish(own), null);
  assert.equal(await box.publish(other), null);
  const { queues } = box.worker.app.amqp;
  assert.deepEqual(box.published.map(({ queue }) => queue), [queues.get("celery"), queues.get("other")]);
  box.published.length = 0;
  const { queue } = own;
  assert.ok(queue);
  for (
    const changed of [
      // A second queue bound to the tasks of the first, and the first one bound elsewhere.
      { ...queue, name: "copies" },
      { ...queue, name: "copies", alias: "celery" },
      { ...queue, routingKey: "bank" },
      { ...queue, exchange: { ...queue.exchange, name: "bank" } },
      { ...queue, exchange: { ...queue.exchange, type: "fanout" as const } },
      { ...queue, queueArguments: { "x-message-ttl": 1 } },
      { ...queue, autoDelete: true },
      { ...queue, name: 1 as never },
      { name: "celery" } as never,
    ]
  ) {
    assert.match(
      await box.publish({ ...own, queue: changed }) ?? "",
      /Cannot/,
      JSON.stringify(changed),
    );
  }
  assert.deepEqual(box.published, []);
});

Deno.test("a sandbox counts in its own chord and fails the steps of its own chain", async () => {
  await using box = new Played();
  const { app } = box.worker;
  const chain = [app.signature("unit.next").set({ taskId: "next-id" }).toJSON()];
  const { seq, ended } = await box.run({
    groupId: "own-group",
    groupIndex: 2,
    chord: CHORD as never,
    chain: chain as never,
  });
  const chord = {
    groupId: "another",
    groupIndex: 9,
    body: '{"task":"unit.other"}',
    result: '{"exc_type":"E"}',
  };
  const step = { taskId: "next-id", state: "SUCCESS", document: '{"own":1}', chord, replyTo: "another" };
  box.end({ ...bareOutcome(seq, "failure", "E()", "E()"), chord, also: [step] });
  const outcome = await ended;
  assert.deepEqual({ ...outcome.chord, body: JSON.parse(outcome.chord!.body!).task }, {
    groupId: "own-group",
    groupIndex: 2,
    body: "unit.body",
    result: '{"exc_type":"E"}',
  });
  assert.deepEqual(outcome.also, [
    { taskId: "next-id", state: "FAILURE", document: '{"own":1}', chord: null, replyTo: null },
  ]);

  await using other = new Played();
  const second = await other.run({ chain: chain as never });
  other.end({ ...bareOutcome(second.seq, "failure", "E()", "E()"), also: [{ ...step, taskId: "victim" }] });
  const refused = await second.ended;
  assert.match(refused.exception, /The sandbox has reported an invalid step/);
  assert.deepEqual(refused.also?.map(({ taskId }) => taskId), ["next-id"]);
});
