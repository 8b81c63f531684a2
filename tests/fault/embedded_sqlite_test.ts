import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { connect, type Connection, type Delivery, exchange, queue } from "../../lib/transport/mod.ts";
import { textMessage, textOf } from "../conformance/transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";
import { eventually } from "../support/ports.ts";
import { type RealTestWorld, realTestWorld } from "../support/real_test_world.ts";
import { ConnectionLost, filePath } from "../../lib/base/mod.ts";

const PROGRAM = filePath(new URL("../support/embedded_worker.ts", import.meta.url));

/** A database in a folder of its own, and processes on it. */
class Lab implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "lovage-sqlite-" });
  readonly path = `${this.folder}/broker.db`;
  readonly url = `sqlite://${this.path}`;
  readonly world: RealTestWorld = realTestWorld();
  #processes: Process[] = [];

  connect(): Promise<Connection> {
    return connect(this.world, this.url, CONNECT_OPTIONS);
  }

  spawn(...args: string[]): Process {
    const process = new Process([args[0]!, this.url, ...args.slice(1)]);
    this.#processes.push(process);
    return process;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes) await process.kill();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** A child whose lines are kept. */
class Process {
  readonly lines: string[] = [];
  readonly ended: Promise<void>;
  #child: Deno.ChildProcess;

  constructor(args: string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "-q", "--no-check", PROGRAM, ...args],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.ended = this.#read().then(async () => void await this.#child.status);
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop()!;
      this.lines.push(...parts);
    }
  }

  async until(count: number): Promise<string[]> {
    await eventually(() => this.lines.length >= count, () => `${count} lines; got ${this.lines}`);
    return this.lines;
  }

  /** CPU time used so far, milliseconds. */
  cpuMs(): number {
    const stat = Deno.readTextFileSync(`/proc/${this.#child.pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  async kill(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // ended already
    }
    await this.ended;
  }
}

async function send(connection: Connection, name: string, ...texts: string[]): Promise<void> {
  await connection.publish(
    texts.map((text) => ({ exchange: "", routingKey: name, message: textMessage(text) })),
  );
}

/** Consumes everything and keeps it; `ack` at once where asked. */
async function collect(
  connection: Connection,
  name: string,
  { ack = false, leaseSeconds = 30 } = {},
): Promise<{ deliveries: Delivery[]; lost: Error[]; restored: () => number }> {
  const deliveries: Delivery[] = [];
  const lost: Error[] = [];
  let restored = 0;
  const one = queue(name);
  await connection.declare(one);
  const consumer = await connection.consume(
    { queues: [one], window: () => 100, owner: "test", leaseSeconds },
    {
      onDeliveries(batch) {
        deliveries.push(...batch);
        if (ack) { for (const delivery of batch) consumer.ack(delivery.tag); }
      },
      onUndecodable: (message) => assert.fail(message.reason),
      onLost: (error) => void lost.push(error),
      onRestored: (count) => void (restored += count),
    },
  );
  return { deliveries, lost, restored: () => restored };
}

Deno.test("sqlite: the default place is made, private, and survives its connections", async () => {
  const folder = Deno.makeTempDirSync();
  const world = realTestWorld({ env: { LOVAGE_HOME: `${folder}/deep/home` } });
  {
    await using connection = await connect(world, "sqlite://", CONNECT_OPTIONS);
    await connection.declare(queue("celery"));
    await send(connection, "celery", "a", "b");
  }
  assert.equal(Deno.statSync(`${folder}/deep/home`).mode! & 0o777, 0o700);
  assert.ok(Deno.statSync(`${folder}/deep/home/lovage.db`).isFile);
  {
    await using connection = await connect(world, "sqlite://", CONNECT_OPTIONS);
    assert.equal(await connection.queueLength("celery"), 2);
    assert.equal(textOf((await connection.take("celery"))!), "a");
  }
  Deno.removeSync(folder, { recursive: true });
});

/** Files and modes, as `ls` would show them; folders end with a slash. */
function modesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name, isDirectory }) => {
    const mode = (Deno.statSync(`${folder}/${name}`).mode! & 0o777).toString(8);
    return `${name}${isDirectory ? "/" : ""} ${mode}`;
  }).sort();
}

Deno.test("sqlite: the database and what is beside it are their user's alone, also where they were not before", async () => {
  const folder = Deno.makeTempDirSync();
  const world = realTestWorld();
  const all = ["q.db 600", "q.db-shm 600", "q.db-wake/ 700", "q.db-wal 600"];
  const mask = Deno.umask(0);
  try {
    for (const url of [`sqlite://${folder}/q.db`, `sqlite://${folder}/link.db`]) {
      {
        await using connection = await connect(world, url, CONNECT_OPTIONS);
        await connection.declare(queue("celery"));
        assert.deepEqual(modesIn(folder).filter((line) => !line.startsWith("link")), all);
      }
      // By an earlier version, or another hand; the second time through a link.
      Deno.chmodSync(`${folder}/q.db`, 0o666);
      if (url.endsWith("q.db")) Deno.symlinkSync(`${folder}/q.db`, `${folder}/link.db`);
    }
    using db = new DatabaseSync(`${folder}/other.db`);
    db.exec("CREATE TABLE theirs (x)");
    await using _connection = await connect(world, `sqlite://${folder}/other.db`, CONNECT_OPTIONS);
    assert.equal(Deno.statSync(`${folder}/other.db`).mode! & 0o777, 0o644);
  } finally {
    Deno.umask(mask);
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("sqlite: kill -9 gives a process's messages back long before its lease ends, counted", async () => {
  await using lab = new Lab();
  await using connection = await lab.connect();
  await connection.declare(queue("celery"));
  await send(connection, "celery", "a", "b", "c");
  const holder = lab.spawn("hold", "celery", "3");
  await holder.until(4);
  const { deliveries, restored } = await collect(connection, "celery", { ack: true });
  await send(connection, "celery", "d");
  await holder.kill();
  const killedMs = performance.now();
  await eventually(() => deliveries.length >= 3, () => `a, b, c; got ${deliveries.map(textOf)}`);
  const tookMs = performance.now() - killedMs;
  assert.ok(tookMs < 20_000, `${tookMs} ms`);
  const back = deliveries.filter((delivery) => textOf(delivery) !== "d");
  assert.deepEqual(back.map((delivery) => [textOf(delivery), delivery.attempts, delivery.info.redelivered]), [
    ["a", 1, true],
    ["b", 1, true],
    ["c", 1, true],
  ]);
  assert.equal(restored(), 3);
});

Deno.test("sqlite: a process that was killed before anybody else came loses nothing either", async () => {
  await using lab = new Lab();
  {
    await using connection = await lab.connect();
    await send(connection, "celery", "a");
  }
  const holder = lab.spawn("hold", "celery");
  await holder.until(2);
  await holder.kill();
  await using connection = await lab.connect();
  const { deliveries } = await collect(connection, "celery");
  await eventually(() => deliveries.length === 1, "the message");
  assert.equal(deliveries[0]!.attempts, 1);
});

Deno.test("sqlite: messages and fanouts wake other processes at once; idle ones rest", async () => {
  await using lab = new Lab();
  await using connection = await lab.connect();
  const drain = lab.spawn("drain", "celery");
  const ear = lab.spawn("listen", "celery.pidbox");
  await drain.until(1);
  await ear.until(1);
  const tookMs: number[] = [];
  for (let n = 0; n < 5; n++) {
    const startMs = performance.now();
    await send(connection, "celery", `m${n}`);
    await connection.publish([{ exchange: "celery.pidbox", routingKey: "", message: textMessage(`p${n}`) }]);
    await eventually(() => drain.lines.includes(`m${n}`) && ear.lines.includes(`p${n}`), `m${n} and p${n}`, {
      everyMs: 1,
    });
    tookMs.push(performance.now() - startMs);
  }
  tookMs.sort((a, b) => a - b);
  // One that only polled would see each after a whole second: it was sent just after the last look.
  assert.ok(tookMs[2]! < 800, `median ${tookMs[2]} ms: woken, not polled`);
  assert.equal(await connection.listeners("celery.pidbox"), 1);
  const before = drain.cpuMs();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const idleMs = drain.cpuMs() - before;
  assert.ok(idleMs <= 100, `${idleMs} ms of CPU in 2 s`);
  await ear.kill();
  assert.equal(await connection.listeners("celery.pidbox"), 0);
});

Deno.test("sqlite: four processes publish and consume at once, none lost, none twice", async () => {
  await using lab = new Lab();
  await using connection = await lab.connect();
  await connection.declare(queue("celery"));
  const drains = [lab.spawn("drain", "celery"), lab.spawn("drain", "celery")];
  for (const drain of drains) await drain.until(1);
  const senders = [lab.spawn("send", "celery", "500"), lab.spawn("send", "celery", "500")];
  const all = () => drains.flatMap((drain) => drain.lines.filter((line) => line !== "ready"));
  await eventually(() => all().length >= 1000, () => `1000 messages; got ${all().length}`);
  for (const sender of senders) await sender.ended;
  assert.equal(new Set(all()).size, 1000);
  assert.equal(all().length, 1000);
});

Deno.test("sqlite: of a process whose ids mean nothing here, the lease decides", async () => {
  await using lab = new Lab();
  await using connection = await lab.connect();
  await connection.declare(queue("celery"));
  await send(connection, "celery", "a");
  const holder = lab.spawn("hold", "celery", "1");
  await holder.until(2);
  using db = new DatabaseSync(lab.path);
  const foreign = (expiresInMs: number) =>
    db.prepare("UPDATE broker_session SET namespace = 'other', expires = ? WHERE name LIKE 'hold-%'")
      .run(Date.now() + expiresInMs);
  foreign(30_000);
  const { deliveries } = await collect(connection, "celery");
  await send(connection, "celery", "b");
  await eventually(() => deliveries.length === 1, "b");
  await new Promise((resolve) => setTimeout(resolve, 1200));
  assert.deepEqual(deliveries.map(textOf), ["b"], "the lease holds");
  foreign(-1);
  await eventually(() => deliveries.length === 2, "a");
  assert.deepEqual(deliveries.map(textOf), ["b", "a"]);
});

Deno.test("sqlite: one that was taken for dead hears of it and cannot settle for others", async () => {
  await using lab = new Lab();
  await using one = await lab.connect();
  const first = await collect(one, "celery");
  await send(one, "celery", "a");
  await eventually(() => first.deliveries.length === 1, "a");
  {
    using db = new DatabaseSync(lab.path);
    db.exec("UPDATE broker_session SET instance = 'another', namespace = 'other', expires = 0");
  }
  await using two = await lab.connect();
  const second = await collect(two, "celery");
  await eventually(() => second.deliveries.length === 1, "a again");
  assert.equal(second.deliveries[0]!.attempts, 1);
  await send(two, "celery", "b", "c");
  await eventually(() => first.lost.length === 1 || second.deliveries.length === 3, "either");
  // The first is told when it would fetch; what it held is the second's now.
  if (first.lost.length === 1) assert.match(first.lost[0]!.message, /taken for dead/);
  assert.ok((await one.lost) !== null);
});

Deno.test("sqlite: a connection lost inside a living process gives its messages to the next one", async () => {
  await using lab = new Lab();
  const one = await lab.connect();
  const first = await collect(one, "celery");
  await send(one, "celery", "a");
  await eventually(() => first.deliveries.length === 1, "a");
  one.fail!(new ConnectionLost("abandoned"));
  assert.equal(first.lost.length, 1);
  assert.match((await one.lost)!.message, /abandoned/);
  await using two = await lab.connect();
  const second = await collect(two, "celery");
  await eventually(() => second.deliveries.length === 1, "a again");
});

Deno.test("sqlite: a queue that deletes itself goes with its process", async () => {
  await using lab = new Lab();
  const one = await lab.connect();
  const replies = queue("r", { exchange: exchange("replies"), routingKey: "r", autoDelete: true });
  await one.subscribe(replies, () => {});
  one.fail!(new ConnectionLost("abandoned"));
  await using two = await lab.connect();
  assert.equal((await two.bindings()).length, 1);
  await collect(two, "celery");
  assert.deepEqual((await two.bindings()).map((binding) => binding.queue), ["celery"]);
});

Deno.test("sqlite: what cannot be a database is told in one line with its path", async () => {
  const folder = Deno.makeTempDirSync();
  const world = realTestWorld();
  const failure = async (path: string): Promise<Error> => {
    try {
      await using _connection = await connect(world, `sqlite://${path}`, CONNECT_OPTIONS);
    } catch (error) {
      assert.ok(
        error instanceof Error && error.message.includes(path) && !error.message.includes("\n"),
        `${error}`,
      );
      return error;
    }
    assert.fail(`${path} was opened`);
  };
  Deno.writeTextFileSync(`${folder}/text.db`, "this is no database at all. ".repeat(100));
  assert.match(
    (await failure(`${folder}/text.db`)).message,
    /^Cannot open database ".*": file is not a database; move it and the files beside it away, or name another$/,
  );
  Deno.mkdirSync(`${folder}/dir.db`);
  assert.match((await failure(`${folder}/dir.db`)).message, /^Cannot open database ".*": it is a folder$/);
  assert.equal((await failure(`${folder}/dir.db`)).name, "AccessRefused");
  assert.match((await failure("/dev/null")).message, /: it is a device$/);
  assert.equal((await failure(`${folder}/text.db/x.db`)).name, "AccessRefused");
  assert.equal((await failure("/proc/nowhere/x.db")).name, "AccessRefused");
  {
    await using _connection = await connect(world, `sqlite://${folder}/later.db`, CONNECT_OPTIONS);
    using db = new DatabaseSync(`${folder}/later.db`);
    db.exec("UPDATE broker_counter SET version = 99");
  }
  assert.match((await failure(`${folder}/later.db`)).message, /version 99, made by a later Lovage/);
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("sqlite: writes wait for another process's transaction", async () => {
  await using lab = new Lab();
  await using connection = await lab.connect();
  await connection.declare(queue("celery"));
  using db = new DatabaseSync(lab.path);
  db.exec("BEGIN IMMEDIATE");
  const sent = send(connection, "celery", "a");
  const declared = connection.declare(queue("other"));
  setTimeout(() => db.exec("COMMIT"), 100);
  await sent;
  await declared;
  assert.equal(await connection.queueLength("celery"), 1);
});
