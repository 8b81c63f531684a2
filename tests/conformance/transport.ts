/**
 * What every transport must do, as one suite. Each runner provides a lab: a broker of its own, and ways to do
 * what the interface cannot (a process that dies, invalid messages).
 */

import assert from "node:assert/strict";
import {
  type Connection,
  type Consumer,
  type DeadLetter,
  type Delivery,
  exchange,
  type Note,
  type OutgoingMessage,
  type Queue,
  queue,
  type Undecodable,
} from "../../lib/transport/mod.ts";
import { OperatingError } from "../../lib/base/mod.ts";
import { bodyBytes, type EncodedMessage, encodeEnvelope } from "../../lib/wire/mod.ts";
import { eventually } from "../support/ports.ts";
import { PROPERTIES } from "../support/messages.ts";

/** A broker for one test, empty at the start. */
export interface TransportLab extends AsyncDisposable {
  connect(): Promise<Connection>;
  /**
   * Ends a connection as the death of its process would, without a word to the broker. Null: not possible.
   */
  readonly abandon: ((connection: Connection) => void | Promise<void>) | null;
  /** Puts a text into a queue unchanged. Null: not possible. */
  readonly putRaw: ((queueName: string, text: string) => Promise<void>) | null;
  /** Makes a queue with priorities; by default a plain queue. */
  priorityQueue?(name: string): Queue;
  /** Whether priority 0 comes first (Redis, memory, sqlite) or last (AMQP). */
  readonly isZeroFirst: boolean;
  /** Whether the broker can keep messages that are not due yet. */
  readonly canPark: boolean;
  /**
   * Parked messages come back at whole seconds, at most one second early and never late. Default: to the
   * millisecond.
   */
  readonly parksInSeconds?: boolean;
  /** Whether it counts how often a message's owner died. */
  readonly countsAttempts: boolean;
  /** Whether `listeners` is known. */
  readonly knowsListeners: boolean;
  /** The lease in tests of dying owners, seconds; a pause of this process must not outlast it. Default 4. */
  readonly leaseSeconds?: number;
}

/**
 * What some tests need: a broker that counts deaths of owners, finds parked messages by their ids; a lab that can kill
 * an owner, put an invalid message into a queue.
 */
export type Need = "attempts" | "dropping" | "killing" | "raw messages";

/**
 * The lease in tests of dying owners, seconds: on a busy machine this process may pause for more than two.
 */
const LEASE_SECONDS = 4;

/** Returns a message whose body is a text. */
export function textMessage(text: string, priority = 0): EncodedMessage {
  return {
    body: new TextEncoder().encode(text).toBase64(),
    bodyEncoding: "base64",
    contentType: "text/plain",
    contentEncoding: "utf-8",
    // AMQP's headers must fit into one frame.
    headers: { task: "t", id: text.slice(0, 1000) },
    // AMQP's correlation ids are short strings.
    properties: { ...PROPERTIES, correlationId: text.slice(0, 40), replyTo: "", priority },
  };
}

/** Returns the text of a message made by `textMessage`. */
export function textOf(of: { readonly message: EncodedMessage }): string {
  return new TextDecoder().decode(bodyBytes(of.message));
}

/** Returns the id of a message made by `textMessage`, from its envelope. */
function idOf(envelope: string): unknown {
  return JSON.parse(envelope).headers.id;
}

function to(queueName: string, ...texts: string[]): OutgoingMessage[] {
  return texts.map((text) => ({ exchange: "", routingKey: queueName, message: textMessage(text) }));
}

/** A consumer that records what it receives. */
class Recorder {
  readonly deliveries: Delivery[] = [];
  readonly undecodable: Undecodable[] = [];
  readonly lost: Error[] = [];
  /** Sizes of the batches. */
  readonly batches: number[] = [];
  restored = 0;
  /** Maximum number of unsettled messages. */
  window = Infinity;
  /** Called with each batch after it was recorded. */
  onBatch: (batch: Delivery[]) => void = () => {};
  consumer!: Consumer;

  static async start(
    connection: Connection,
    queues: Queue[],
    options: {
      window?: number;
      owner?: string;
      leaseSeconds?: number;
      onBatch?: (batch: Delivery[]) => void;
    } = {},
  ): Promise<Recorder> {
    const recorder = new Recorder();
    if (options.onBatch) recorder.onBatch = options.onBatch;
    recorder.window = options.window ?? Infinity;
    for (const one of queues) await connection.declare(one);
    recorder.consumer = await connection.consume({
      queues,
      window: () => recorder.window - recorder.unsettled,
      owner: options.owner ?? `owner-${crypto.randomUUID()}`,
      leaseSeconds: options.leaseSeconds ?? 30,
    }, {
      onDeliveries(batch) {
        recorder.deliveries.push(...batch);
        recorder.batches.push(batch.length);
        recorder.onBatch(batch);
      },
      onUndecodable: (message) => void recorder.undecodable.push(message),
      onLost: (error) => void recorder.lost.push(error),
      onRestored: (count) => void (recorder.restored += count),
    });
    return recorder;
  }

  /** Messages may arrive before `consumer` is set. */
  get unsettled(): number {
    return this.consumer ? this.consumer.unsettled : this.deliveries.length;
  }

  get texts(): string[] {
    return this.deliveries.map(textOf);
  }

  async until(count: number): Promise<Delivery[]> {
    await eventually(
      () => this.deliveries.length >= count,
      () => `${count} deliveries; got ${this.deliveries.length}: ${this.texts.slice(0, 10)}`,
    );
    return this.deliveries;
  }

  ackAll(): void {
    for (const delivery of this.deliveries.splice(0)) this.consumer.ack(delivery.tag);
    this.consumer.wake();
  }
}

/** Runs the suite for one transport; tests that need what it is `without` are ignored. */
export function transportConformance(
  name: string,
  openLab: () => Promise<TransportLab>,
  without: readonly Need[] = [],
): void {
  function test(what: string, run: (lab: TransportLab) => Promise<void>, needs: readonly Need[] = []): void {
    Deno.test({
      name: `${name}: ${what}`,
      ignore: needs.some((need) => without.includes(need)),
      async fn() {
        await using lab = await openLab();
        await run(lab);
      },
    });
  }

  test("messages arrive whole and in order; publishing before and after a consumer starts", async (lab) => {
    await using sender = await lab.connect();
    await using receiver = await lab.connect();
    const celery = queue("celery");
    assert.equal(await sender.declare(celery), 0);
    await sender.publish(to("celery", "a", "b"));
    assert.equal(await sender.declare(celery), 2);
    const recorder = await Recorder.start(receiver, [celery]);
    await recorder.until(2);
    await sender.publish(to("celery", "c", "ü\u0000🐢"));
    await sender.publish(to("celery", "e"));
    await recorder.until(5);
    assert.deepEqual(recorder.texts, ["a", "b", "c", "ü\u0000🐢", "e"]);
    const [first] = recorder.deliveries as [Delivery];
    assert.equal(first.queue, "celery");
    assert.deepEqual(first.info, { exchange: "", routingKey: "celery", redelivered: false });
    assert.equal(first.attempts, 0);
    assert.deepEqual(first.message.headers, { task: "t", id: "a" });
    assert.equal(first.message.contentType, "text/plain");
    assert.equal(first.message.properties.correlationId, "a");
    assert.equal(first.message.properties.deliveryMode, 2);
    const envelope = JSON.parse(first.envelope);
    assert.equal(envelope["content-type"], "text/plain");
    assert.equal(envelope.properties.body_encoding, "base64");
    // Null if the broker does not count it; a server may update the count a moment later.
    const stats = await sender.queueStats("celery");
    assert.deepEqual([stats?.ready, stats?.next], [0, null]);
    assert.ok(stats?.unacked === null || stats?.unacked === 5);
    assert.ok(stats?.consumers === null || stats?.consumers === 1);
    assert.equal(await sender.queueStats("nobody"), null);
    recorder.ackAll();
    await recorder.consumer.flush();
    assert.equal(recorder.consumer.unsettled, 0);
    assert.equal(await sender.queueLength("celery"), 0);
  });

  test("priorities", async (lab) => {
    await using connection = await lab.connect();
    const tasks = lab.priorityQueue?.("tasks") ?? queue("tasks");
    await connection.declare(tasks);
    await connection.publish([9, 6, 3, 0, 9, 0, 5].map((priority, n) => ({
      exchange: "",
      routingKey: "tasks",
      message: textMessage(`${priority}-${n}`, priority),
    })));
    const recorder = await Recorder.start(connection, [tasks]);
    await recorder.until(7);
    const low = ["0-3", "0-5", "3-2", "5-6", "6-1", "9-0", "9-4"];
    const high = ["9-0", "9-4", "6-1", "5-6", "3-2", "0-3", "0-5"];
    assert.deepEqual(recorder.texts, lab.isZeroFirst ? low : high);
  });

  test("the window is honoured, and 0 waits for wake", async (lab) => {
    await using connection = await lab.connect();
    const celery = queue("celery");
    await connection.declare(celery);
    await connection.publish(to("celery", ..."abcdefghij"));
    const recorder = await Recorder.start(connection, [celery], { window: 3 });
    recorder.consumer.setPrefetch(3);
    await recorder.until(3);
    await recorder.consumer.flush();
    assert.equal(recorder.deliveries.length, 3);
    assert.equal(recorder.consumer.unsettled, 3);
    recorder.consumer.ack(recorder.deliveries.shift()!.tag);
    recorder.consumer.wake();
    await recorder.until(3);
    await recorder.consumer.flush();
    assert.deepEqual(recorder.texts, ["b", "c", "d"]);
    recorder.window = 0;
    recorder.ackAll();
    await recorder.consumer.flush();
    await recorder.consumer.flush();
    assert.equal(recorder.deliveries.length, 0);
    recorder.window = 4;
    recorder.consumer.setPrefetch(4);
    recorder.consumer.wake();
    await recorder.until(4);
    assert.deepEqual(recorder.texts, ["e", "f", "g", "h"]);
  });

  test("reject drops, requeues at the back, or restores at the head, and marks the message", async (lab) => {
    await using connection = await lab.connect();
    await using other = await lab.connect();
    const celery = queue("celery");
    await connection.declare(celery);
    await connection.publish(to("celery", "a", "b", "c", "d", "e"));
    const recorder = await Recorder.start(connection, [celery], { window: 3 });
    recorder.consumer.setPrefetch(3);
    await recorder.until(3);
    await recorder.consumer.pause();
    const [a, b, c] = recorder.deliveries as [Delivery, Delivery, Delivery];
    recorder.consumer.reject(a.tag, "drop");
    recorder.consumer.reject(b.tag, "requeue");
    recorder.consumer.reject(c.tag, "restore");
    await recorder.consumer.flush();
    const notes: Note[] = [];
    for (let note; (note = await other.take("celery"));) notes.push(note);
    if (lab.isZeroFirst) {
      assert.deepEqual(notes.map(textOf), ["c", "d", "e", "b"]);
    } else {
      // AMQP's servers decide where returned messages are put.
      assert.deepEqual(notes.map(textOf).sort(), ["b", "c", "d", "e"]);
    }
    for (const note of notes) {
      assert.equal(note.info.redelivered, "bc".includes(textOf(note)), textOf(note));
    }
  });

  test("settling twice is a programming error", async (lab) => {
    await using connection = await lab.connect();
    const celery = queue("celery");
    await connection.declare(celery);
    await connection.publish(to("celery", "a"));
    const recorder = await Recorder.start(connection, [celery]);
    const [a] = await recorder.until(1) as [Delivery];
    recorder.consumer.ack(a.tag);
    assert.throws(() => recorder.consumer.ack(a.tag), { name: "AssertionError" });
  });

  test("closing gives back unsettled messages, at the head and in order", async (lab) => {
    await using other = await lab.connect();
    const celery = queue("celery");
    await other.declare(celery);
    await other.publish(to("celery", "a", "b", "c", "d", "e", "f"));
    const connection = await lab.connect();
    const recorder = await Recorder.start(connection, [celery], { window: 4 });
    recorder.consumer.setPrefetch(4);
    await recorder.until(4);
    recorder.consumer.ack(recorder.deliveries[1]!.tag);
    recorder.window = 0;
    const restored = await recorder.consumer.close();
    assert.ok(restored >= 3, `${restored} restored`);
    await connection.close();
    await connection.close();
    assert.equal(await connection.lost, null);
    const notes: Note[] = [];
    await eventually(async () => {
      const note = await other.take("celery");
      if (note) notes.push(note);
      return notes.length === 5;
    }, () => `5 messages; got ${notes.map(textOf)}`);
    assert.deepEqual(notes.map(textOf), ["a", "c", "d", "e", "f"]);
    assert.equal(notes[0]!.info.redelivered, true);
    assert.equal(notes[4]!.info.redelivered, false);
    assert.equal(recorder.lost.length, 0);
  });

  test("a dead owner's messages come back, marked and counted; a live one's do not", async (lab) => {
    await using sender = await lab.connect();
    const celery = queue("celery");
    await sender.declare(celery);
    await sender.publish(to("celery", "a", "b"));
    await using doomed = await lab.connect();
    const first = await Recorder.start(doomed, [celery], {
      window: 1,
      leaseSeconds: lab.leaseSeconds ?? LEASE_SECONDS,
    });
    await first.until(1);
    await using living = await lab.connect();
    const second = await Recorder.start(living, [celery], {
      window: 1,
      leaseSeconds: lab.leaseSeconds ?? LEASE_SECONDS,
    });
    await second.until(1);
    assert.deepEqual([first.texts, second.texts], [["a"], ["b"]]);
    await lab.abandon!(doomed);
    second.window = 2;
    second.consumer.wake();
    await second.until(2);
    const back = second.deliveries[1]!;
    assert.equal(textOf(back), "a");
    assert.equal(back.info.redelivered, true);
    if (lab.countsAttempts) {
      assert.equal(back.attempts, 1);
      assert.equal(second.restored, 1);
    }
    // The live consumer kept its own message all the time.
    assert.equal(second.deliveries.length, 2);
    second.ackAll();
    await second.consumer.flush();
    assert.equal(await sender.queueLength("celery"), 0);
    await doomed.close();
  }, ["killing"]);

  test("the first death always counts, a later one only if the task had begun", async (lab) => {
    await using sender = await lab.connect();
    const celery = queue("celery");
    await sender.declare(celery);
    await sender.publish(to("celery", "guilty", "neighbour"));
    for (const expected of [[0, 0], [1, 1], [2, 1]]) {
      await using doomed = await lab.connect();
      const recorder = await Recorder.start(doomed, [celery], {
        leaseSeconds: lab.leaseSeconds ?? LEASE_SECONDS,
      });
      const held = await recorder.until(2);
      assert.deepEqual(held.map(textOf), ["guilty", "neighbour"]);
      assert.deepEqual(held.map(({ attempts }) => attempts), expected);
      if (recorder.consumer.begun === undefined) return await doomed.close();
      if (held[0]!.attempts > 0) recorder.consumer.begun(held[0]!.tag);
      await recorder.consumer.flush();
      await lab.abandon!(doomed);
      await doomed.close();
    }
  }, ["killing", "attempts"]);

  test("a death while a message is read counts only against that message", async (lab) => {
    const abandon = lab.abandon!;
    await using sender = await lab.connect();
    const celery = queue("celery");
    await sender.declare(celery);
    await sender.publish(to("celery", "guilty", "neighbour"));
    const counts: Record<string, number> = {};
    // Held at a first death, then read alone: each reading of the guilty message ends its process.
    for (const round of [0, 1, 2, 3]) {
      await using doomed = await lab.connect();
      let died = false;
      const recorder = await Recorder.start(doomed, [celery], {
        leaseSeconds: lab.leaseSeconds ?? LEASE_SECONDS,
        onBatch: (batch) => {
          if (died) return;
          for (const delivery of batch) counts[textOf(delivery)] = delivery.attempts;
          if (round === 0 || round === 3 || textOf(batch[0]!) !== "guilty") return;
          died = true;
          assert.equal(batch.length, 1);
          void abandon(doomed);
        },
      });
      if (round === 0 || round === 3) await recorder.until(2);
      else await eventually(() => died, () => `the death of round ${round}`);
      if (!died) await abandon(doomed);
      await doomed.close();
    }
    assert.deepEqual(counts, { guilty: 3, neighbour: 1 });
  }, ["killing", "attempts"]);

  test("parked messages are deleted by their ids, and with their queue", async (lab) => {
    await using connection = await lab.connect();
    await using other = await lab.connect();
    const queues = [queue("celery"), queue("second")];
    for (const one of queues) await connection.declare(one);
    await connection.publish([...to("celery", "a", "b"), ...to("second", "c")]);
    const recorder = await Recorder.start(connection, queues);
    const dueMs = Date.now() + 3_600_000;
    for (const { tag } of await recorder.until(3)) assert.equal(recorder.consumer.park(tag, dueMs), true);
    await recorder.consumer.flush();
    const first = (await other.parked!(10)).find(({ queue: name }) => name === "celery")!;
    assert.equal(await other.dropParked!([first.id, first.id, "nobody"]), 1);
    assert.equal(await other.purge("second"), 1);
    assert.deepEqual((await other.parked!(10)).map(({ queue: name }) => name), ["celery"]);
    assert.equal(await other.purge("celery"), 1);
    assert.deepEqual(await other.parked!(10), []);
  }, ["dropping"]);

  test("a parked message comes back when it is due, not before", async (lab) => {
    await using connection = await lab.connect();
    await using other = await lab.connect();
    const celery = queue("celery");
    await connection.declare(celery);
    await connection.publish(to("celery", "later", "soon"));
    const recorder = await Recorder.start(connection, [celery]);
    await recorder.until(2);
    const [later, soon] = recorder.deliveries.splice(0) as [Delivery, Delivery];
    const nowMs = Date.now();
    if (!lab.canPark) {
      assert.equal(recorder.consumer.park(later.tag, nowMs + 50), false);
      return;
    }
    const [soonMs, laterMs] = lab.parksInSeconds ? [nowMs + 1500, nowMs + 2900] : [nowMs + 250, nowMs + 700];
    const earlyMs = lab.parksInSeconds ? 1000 : 0;
    assert.equal(recorder.consumer.park(later.tag, laterMs), true);
    assert.equal(recorder.consumer.park(soon.tag, soonMs), true);
    assert.equal(recorder.consumer.unsettled, 0);
    await recorder.consumer.flush();
    assert.equal(recorder.deliveries.length, 0);
    // Every connection lists them, soonest first, unless they are in a broker's own delays.
    if (!lab.parksInSeconds) {
      const parked = await other.parked!(10);
      assert.deepEqual(
        parked.map(({ queue: name, dueMs, envelope }) => [name, Math.round(dueMs), idOf(envelope)]),
        [
          ["celery", soonMs, "soon"],
          ["celery", laterMs, "later"],
        ],
      );
      assert.equal((await other.parked!(1)).length, 1);
    }
    // Any consumer gets it then: this one is closed by the time the second is due.
    await recorder.until(1);
    assert.ok(Date.now() >= soonMs - earlyMs, "not before it is due");
    assert.deepEqual(recorder.texts, ["soon"]);
    assert.equal(recorder.deliveries[0]!.attempts, 0);
    // The worker that parked it has logged it; with a broker's own delays no worker has seen it.
    assert.equal(recorder.deliveries[0]!.wasReported, !lab.parksInSeconds);
    recorder.ackAll();
    const successor = await Recorder.start(other, [celery]);
    await recorder.consumer.close();
    await successor.until(1);
    assert.ok(Date.now() >= laterMs - earlyMs, "not before it is due");
    assert.deepEqual(successor.texts, ["later"]);
    assert.ok(Date.now() < laterMs + 2300, "soon after it is due");
  });

  test("a dead letter never comes back to its queue", async (lab) => {
    await using connection = await lab.connect();
    const celery = queue("celery");
    await connection.declare(celery);
    await connection.publish(to("celery", "poison", "b"));
    const recorder = await Recorder.start(connection, [celery], { window: 1 });
    recorder.consumer.setPrefetch(1);
    const [poison] = await recorder.until(1) as [Delivery];
    assert.equal(recorder.consumer.deadLetter(poison.tag, "it killed 3 workers"), true);
    recorder.consumer.wake();
    await recorder.until(2);
    assert.equal(await recorder.consumer.close(), 1);
    assert.deepEqual([await connection.queueLength("celery"), textOf((await connection.take("celery"))!)], [
      1,
      "b",
    ]);
  });

  test("dead letters are listed, put back into a queue and dropped, each by one caller", async (lab) => {
    await using connection = await lab.connect();
    await using other = await lab.connect();
    const celery = queue("celery");
    await connection.declare(celery);
    await connection.publish(to("celery", "a", "b", "c"));
    const recorder = await Recorder.start(connection, [celery]);
    for (const delivery of await recorder.until(3)) {
      recorder.consumer.deadLetter(delivery.tag, `reason ${textOf(delivery)}`);
    }
    await recorder.consumer.close();
    const [dead, theirs] = [connection.deadLetters!, other.deadLetters!];
    assert.equal(await dead.count(), 3);
    const letters = await dead.list(10);
    assert.deepEqual(letters.map(({ reason, queue: name, envelope }) => [reason, name, idOf(envelope)]), [
      ["reason c", "celery", "c"],
      ["reason b", "celery", "b"],
      ["reason a", "celery", "a"],
    ]);
    assert.equal(new Set(letters.map(({ id }) => id)).size, 3);
    assert.ok(letters.every(({ atMs }) => Math.abs(atMs - Date.now()) < 60_000));
    assert.deepEqual((await dead.list(1)).map(({ reason }) => reason), ["reason c"]);
    const [c, b] = letters as [DeadLetter, DeadLetter];
    const [theirC] = await theirs.list(1) as [DeadLetter];
    assert.equal(await dead.retry(c, "elsewhere"), true);
    assert.equal(await theirs.retry(theirC, "elsewhere"), false);
    assert.equal(await dead.drop(b), true);
    assert.equal(await dead.drop(b), false);
    assert.equal(await theirs.count(), 1);
    const again = await other.take("elsewhere");
    assert.equal(textOf(again!), "c");
    assert.equal(await other.take("elsewhere"), null);
  });

  test("failed tasks are kept within limits, listed, sent again and dropped, each by one caller", async (lab) => {
    await using connection = await lab.connect();
    await using other = await lab.connect();
    const [failed, theirs] = [connection.failedTasks!, other.failedTasks!];
    const limits = { count: 3, seconds: 3600 };
    assert.deepEqual([await failed.count(), await failed.list(10)], [0, []]);
    const nowMs = Date.now();
    const entry = (name: string, agoMs: number) => {
      const [{ exchange, routingKey, message }] = to("celery", name) as [OutgoingMessage];
      const envelope = encodeEnvelope(message, { exchange, routingKey, deliveryTag: name });
      return { queue: "celery", reason: `ValueError('${name}')`, atMs: nowMs - agoMs, envelope };
    };
    await failed.keep([entry("a", 40), entry("b", 30), entry("c", 20)], limits);
    const tasks = await theirs.list(10);
    assert.deepEqual(tasks.map(({ reason, queue: name, envelope }) => [reason, name, idOf(envelope)]), [
      ["ValueError('c')", "celery", "c"],
      ["ValueError('b')", "celery", "b"],
      ["ValueError('a')", "celery", "a"],
    ]);
    assert.equal(new Set(tasks.map(({ id }) => id)).size, 3);
    assert.ok(tasks.every(({ atMs }) => Math.abs(atMs - nowMs) < 60_000));
    assert.deepEqual((await failed.list(1)).map(({ reason }) => reason), ["ValueError('c')"]);
    const [c, b] = await failed.list(2) as [DeadLetter, DeadLetter];
    const [theirC] = await theirs.list(1) as [DeadLetter];
    assert.equal(await failed.retry(c, "elsewhere", entry("again", 0).envelope), true);
    assert.equal(await theirs.retry(theirC, "elsewhere", entry("twice", 0).envelope), false);
    assert.equal(await failed.drop(b), true);
    assert.equal(await failed.drop(b), false);
    assert.equal(await theirs.count(), 1);
    assert.equal(textOf((await other.take("elsewhere"))!), "again");
    assert.equal(await other.take("elsewhere"), null);
    // The oldest are dropped past the count, and those older than the time.
    await failed.keep([entry("d", 15), entry("e", 10), entry("f", 5)], limits);
    assert.deepEqual((await failed.list(10)).map(({ envelope }) => idOf(envelope)), ["f", "e", "d"]);
    // On AMQP the time counts from when a message was kept.
    if (connection.transport === "amqp") return;
    await failed.keep([entry("old", 7_200_000)], limits);
    assert.ok(!(await failed.list(10)).some(({ envelope }) => idOf(envelope) === "old"));
  });

  test("what is put back or sent again is news, though it was parked before", async (lab) => {
    await using connection = await lab.connect();
    const celery = queue("celery");
    await connection.declare(celery);
    await connection.publish(to("celery", "a"));
    const recorder = await Recorder.start(connection, [celery]);
    const next = async () => {
      const [delivery] = await recorder.until(1) as [Delivery];
      recorder.deliveries.splice(0);
      return delivery;
    };
    recorder.consumer.park((await next()).tag, Date.now() + 100);
    const parked = await next();
    assert.equal(parked.wasReported, true);
    recorder.consumer.deadLetter(parked.tag, "why");
    await recorder.consumer.flush();
    const [letter] = await connection.deadLetters!.list(1) as [DeadLetter];
    assert.equal(await connection.deadLetters!.retry(letter, "celery"), true);
    const revived = await next();
    assert.equal(revived.wasReported, false);
    recorder.consumer.ack(revived.tag);
    const { envelope } = parked;
    const entry = { queue: "celery", reason: "why", atMs: Date.now(), envelope: envelope! };
    await connection.failedTasks!.keep([entry], { count: 1, seconds: 60 });
    const [failed] = await connection.failedTasks!.list(1) as [DeadLetter];
    assert.equal(await connection.failedTasks!.retry(failed, "celery", envelope!), true);
    const again = await next();
    assert.equal(again.wasReported, false);
    recorder.consumer.ack(again.tag);
  }, ["dropping"]);

  test("pause, resume, adding and cancelling queues", async (lab) => {
    await using connection = await lab.connect();
    await using sender = await lab.connect();
    const [a, b] = [queue("a"), queue("b")];
    await sender.declare(b);
    const recorder = await Recorder.start(connection, [a]);
    await recorder.consumer.pause();
    await sender.publish(to("a", "1"));
    await sender.publish(to("b", "2"));
    await recorder.consumer.flush();
    assert.deepEqual(recorder.texts, []);
    recorder.consumer.resume();
    await recorder.until(1);
    await recorder.consumer.addQueue(b);
    await recorder.consumer.addQueue(b);
    await recorder.until(2);
    assert.deepEqual(recorder.texts, ["1", "2"]);
    assert.deepEqual(recorder.consumer.queues.map((one) => one.name), ["a", "b"]);
    await recorder.consumer.cancelQueue("a");
    await recorder.consumer.cancelQueue("nobody");
    await sender.publish(to("a", "3"));
    await sender.publish(to("b", "4"));
    await recorder.until(3);
    assert.deepEqual(recorder.texts, ["1", "2", "4"]);
    recorder.ackAll();
    await recorder.consumer.flush();
    assert.equal(await sender.queueLength("a"), 1);
    assert.equal((await sender.queueStats("a"))?.ready, 1);
  });

  test("no queue starves another", async (lab) => {
    await using connection = await lab.connect();
    const [a, b] = [queue("a"), queue("b")];
    await connection.declare(a);
    await connection.declare(b);
    await connection.publish(to("a", ...Array.from({ length: 50 }, (_, n) => `a${n}`)));
    await connection.publish(to("b", "b0"));
    const recorder = await Recorder.start(connection, [a, b], { window: 1 });
    const seen = recorder.texts;
    recorder.onBatch = (batch) => {
      for (const delivery of batch) {
        seen.push(textOf(delivery));
        recorder.consumer.ack(delivery.tag);
      }
      recorder.consumer.wake();
    };
    recorder.consumer.setPrefetch(1);
    recorder.ackAll();
    await eventually(() => seen.includes("b0"), "b's message");
    assert.ok(seen.indexOf("b0") < 45, `b's message came after ${seen.indexOf("b0")}`);
  });

  test("direct and topic exchanges route; messages without a matching binding are dropped", async (lab) => {
    await using connection = await lab.connect();
    const media = exchange("media");
    const news = exchange("news", { type: "topic" });
    await connection.declareExchange(news);
    const video = queue("video", { exchange: media, routingKey: "media.video" });
    const image = queue("image", { exchange: media, routingKey: "media.image" });
    const sport = queue("sport", { exchange: news, routingKey: "*.sport" });
    const europe = queue("europe", { exchange: news, routingKey: "europe.#" });
    for (const one of [video, image, sport, europe]) await connection.declare(one);
    const publish = (exchangeName: string, routingKey: string) =>
      connection.publish([{ exchange: exchangeName, routingKey, message: textMessage(routingKey) }]);
    await publish("media", "media.video");
    await publish("media", "media.nothing");
    await publish("news", "europe.sport");
    await publish("news", "asia.sport");
    await publish("news", "europe.politics.vote");
    await publish("", "image");
    const got: Record<string, string[]> = {};
    for (const one of ["video", "image", "sport", "europe"]) {
      const list: string[] = got[one] = [];
      for (let note; (note = await connection.take(one));) list.push(textOf(note));
    }
    assert.deepEqual(got, {
      video: ["media.video"],
      image: ["image"],
      sport: ["europe.sport", "asia.sport"],
      europe: ["europe.sport", "europe.politics.vote"],
    });
    const bindings = await connection.bindings();
    for (const one of [video, image, sport, europe]) {
      assert.ok(
        bindings.some((binding) =>
          binding.queue === one.name && binding.exchange === one.exchange.name &&
          binding.routingKey === one.routingKey
        ),
        `${one.name} is among ${JSON.stringify(bindings)}`,
      );
    }
    const names = await connection.queueNames?.();
    // RabbitMQ's protocol has no request for it.
    assert.equal(names === undefined, connection.transport === "amqp");
    for (const one of [video, image, sport, europe]) assert.equal(names?.includes(one.name), names && true);
  });

  test("a fanout reaches every subscriber, once, and nobody afterwards", async (lab) => {
    await using publisher = await lab.connect();
    await using one = await lab.connect();
    await using two = await lab.connect();
    const pidbox = exchange("celery.pidbox", { type: "fanout", durable: false });
    const box = (name: string) =>
      queue(`${name}.celery.pidbox`, {
        exchange: pidbox,
        routingKey: "",
        durable: false,
        autoDelete: true,
        isPersonal: true,
      });
    const send = (text: string) =>
      publisher.publish([{ exchange: "celery.pidbox", routingKey: "", message: textMessage(text) }]);
    await publisher.declareExchange(pidbox);
    await send("before");
    const heard: [string[], string[]] = [[], []];
    const first = await one.subscribe(box("one"), (note) => heard[0].push(textOf(note)));
    const second = await two.subscribe(box("two"), (note) => heard[1].push(textOf(note)));
    if (lab.knowsListeners) assert.equal(await publisher.listeners("celery.pidbox"), 2);
    await send("x");
    await send("y");
    await eventually(() => heard[0].length >= 2 && heard[1].length >= 2, () => `two each: ${heard}`);
    await first.close();
    await first.close();
    await send("z");
    await eventually(() => heard[1].length >= 3, "the third");
    await second.close();
    await send("after");
    assert.deepEqual(heard, [["x", "y"], ["x", "y", "z"]]);
    if (lab.knowsListeners) assert.equal(await publisher.listeners("celery.pidbox"), 0);
  });

  test("a consumer of a fanout's queue gets its own copy, and settles it like any other", async (lab) => {
    await using publisher = await lab.connect();
    const news = exchange("news", { type: "fanout" });
    const copy = (name: string) =>
      queue(`bcast.${name}`, { exchange: news, routingKey: "", autoDelete: true });
    const send = (...texts: string[]) =>
      publisher.publish(
        texts.map((text) => ({ exchange: "news", routingKey: "", message: textMessage(text) })),
      );
    await publisher.declareExchange(news);
    await send("before");
    const connections = [await lab.connect(), await lab.connect()];
    const [one, two] = [
      await Recorder.start(connections[0]!, [queue("plain"), copy("one")], { window: 2 }),
      await Recorder.start(connections[1]!, [copy("two")]),
    ];
    await send("x", "y", "z");
    await one.until(2);
    await two.until(3);
    assert.deepEqual(one.texts, ["x", "y"]);
    assert.equal(one.deliveries[0]!.queue, "bcast.one");
    const [x, y] = one.deliveries.splice(0);
    one.consumer.ack(x!.tag);
    one.consumer.reject(y!.tag, "requeue");
    one.consumer.wake();
    await one.until(2);
    assert.deepEqual(one.texts.sort(), ["y", "z"]);
    one.ackAll();
    two.ackAll();
    await two.consumer.cancelQueue("bcast.two");
    await send("after");
    await one.until(1);
    one.ackAll();
    // An ordinary queue of the same consumer is not affected.
    await publisher.publish(to("plain", "p"));
    await one.until(1);
    one.ackAll();
    for (const connection of connections) await connection.close();
    assert.deepEqual(two.texts, []);
    await send("late");
    assert.deepEqual((await publisher.bindings()).filter(({ exchange }) => exchange === "news"), []);
  });

  test("a reply queue delivers without acknowledgements and is deleted with its subscription", async (lab) => {
    await using worker = await lab.connect();
    await using client = await lab.connect();
    const replies = queue("oid.reply.celery.pidbox", {
      exchange: exchange("reply.celery.pidbox"),
      routingKey: "oid",
      durable: false,
      autoDelete: true,
      isPersonal: true,
    });
    const heard: Note[] = [];
    const subscription = await client.subscribe(replies, (note) => heard.push(note));
    const reply = (text: string) =>
      worker.publish([{ exchange: "reply.celery.pidbox", routingKey: "oid", message: textMessage(text) }]);
    await reply("1");
    await reply("2");
    await eventually(() => heard.length === 2, "two replies");
    assert.deepEqual(heard.map(textOf), ["1", "2"]);
    assert.deepEqual(heard[0]!.info, {
      exchange: "reply.celery.pidbox",
      routingKey: "oid",
      redelivered: false,
    });
    await subscription.close();
    if (lab.isZeroFirst) {
      await reply("3");
      assert.ok((await client.queueLength(replies.name) ?? 0) === 0);
    }
    assert.ok(!(await client.bindings()).some((binding) => binding.queue === replies.name));
  });

  test("purge, length, take and deleting a queue", async (lab) => {
    await using connection = await lab.connect();
    await connection.declare(queue("celery"));
    await connection.declare(queue("other"));
    await connection.publish(to("celery", "a", "b", "c"));
    await connection.publish(to("other", "d"));
    assert.equal(await connection.queueLength("celery"), 3);
    assert.equal(textOf((await connection.take("celery"))!), "a");
    assert.equal(await connection.purge("celery"), 2);
    assert.equal(await connection.purge("celery"), 0);
    assert.equal(await connection.queueLength("celery") ?? 0, 0);
    assert.equal(await connection.take("celery"), null);
    assert.equal(await connection.queueLength("other"), 1);
    await connection.deleteQueue("other");
    assert.equal(await connection.queueLength("other") ?? 0, 0);
  });

  test("an invalid message is reported, settled, and does not stop the others", async (lab) => {
    await using connection = await lab.connect();
    const celery = queue("celery");
    await connection.declare(celery);
    await lab.putRaw!("celery", '{"body": "tru');
    await lab.putRaw!("celery", "[1, 2]");
    await connection.publish(to("celery", "good"));
    const recorder = await Recorder.start(connection, [celery]);
    await recorder.until(1);
    assert.deepEqual(recorder.texts, ["good"]);
    assert.deepEqual(recorder.undecodable.map(({ text }) => text), ['{"body": "tru', "[1, 2]"]);
    for (const one of recorder.undecodable) {
      assert.equal(one.queue, "celery");
      assert.ok(one.reason.length > 0 && !one.reason.includes("\n"), one.reason);
      recorder.consumer.reject(one.tag, "drop");
    }
    recorder.ackAll();
    await recorder.consumer.flush();
    assert.equal(await recorder.consumer.close(), 0);
    assert.equal(await connection.queueLength("celery") ?? 0, 0);
  }, ["raw messages"]);

  test("5,000 messages over two consumers: each once, none lost", async (lab) => {
    await using sender = await lab.connect();
    await using one = await lab.connect();
    await using two = await lab.connect();
    const celery = queue("celery");
    const seen = new Map<string, number>();
    const counts = [0, 0];
    const receive = async (connection: Connection, which: 0 | 1) => {
      const recorder = await Recorder.start(connection, [celery], { window: 64 });
      recorder.consumer.setPrefetch(64);
      recorder.onBatch = (batch) => {
        for (const delivery of batch) {
          const text = textOf(delivery);
          seen.set(text, (seen.get(text) ?? 0) + 1);
          counts[which]!++;
          recorder.consumer.ack(delivery.tag);
        }
        recorder.consumer.wake();
      };
      return recorder;
    };
    const recorders = [await receive(one, 0), await receive(two, 1)];
    for (let n = 0; n < 5000; n += 250) {
      await sender.publish(to("celery", ...Array.from({ length: 250 }, (_, k) => `m${n + k}`)));
    }
    await eventually(() => seen.size === 5000, () => `5000 messages; got ${seen.size}`);
    for (const recorder of recorders) await recorder.consumer.flush();
    assert.ok([...seen.values()].every((count) => count === 1), "each once");
    for (const recorder of recorders) assert.equal(recorder.consumer.unsettled, 0);
    assert.equal(await sender.queueLength("celery"), 0);
  });

  test("a large message", async (lab) => {
    await using connection = await lab.connect();
    const celery = queue("celery");
    await connection.declare(celery);
    const text = "large ü ".repeat(150_000);
    await connection.publish(to("celery", text));
    const recorder = await Recorder.start(connection, [celery]);
    await recorder.until(1);
    assert.ok(recorder.texts[0] === text, "the same text");
    recorder.ackAll();
  });

  test("a closed connection refuses calls; connection and consumer may be closed in any order", async (lab) => {
    const connection = await lab.connect();
    await connection.declare(queue("celery"));
    const recorder = await Recorder.start(connection, [queue("celery")]);
    await connection.close();
    assert.equal(await recorder.consumer.close(), 0);
    await recorder.consumer.flush();
    await assert.rejects(connection.publish(to("celery", "a")), OperatingError);
    await assert.rejects(connection.declare(queue("celery")), OperatingError);
    assert.equal(await connection.lost, null);
    assert.equal(recorder.lost.length, 0);
  });
}
