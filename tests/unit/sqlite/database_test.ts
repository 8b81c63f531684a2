/** What every database of ours does, and that the embedded broker and the result store both do it. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openBackend } from "../../../lib/backend/mod.ts";
import {
  AccessRefused,
  type Clock,
  ConnectionLost,
  DialError,
  OperatingError,
  ServerError,
} from "../../../lib/base/mod.ts";
import { Database } from "../../../lib/sqlite/mod.ts";
import { connect, queue } from "../../../lib/transport/mod.ts";
import { backendOptions, resultRecord, stored } from "../../conformance/backend.ts";
import { textMessage } from "../../conformance/transport.ts";
import { CONNECT_OPTIONS } from "../../support/connect_options.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

const { clock } = realTestWorld();

/** A database file in a folder of its own. */
class Place implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "lovage-database-" });
  readonly path = `${this.folder}/new/lovage.db`;
  readonly url = `sqlite://${this.path}`;

  open(path = this.path): Promise<Database> {
    return Database.open({
      path,
      clock,
      noun: "database",
      makeTables: (database) => database.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER UNIQUE)"),
    });
  }

  /** Another process's transaction, until it is disposed of. */
  lock(): Disposable {
    const database = new DatabaseSync(this.path);
    database.exec("BEGIN IMMEDIATE");
    return { [Symbol.dispose]: () => database.close() };
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

Deno.test("Database: statements give rows and counts, a transaction is written wholly or not at all", async () => {
  using place = new Place();
  const database = await place.open();
  assert.equal(database.run("INSERT INTO t VALUES (?), (?)", 1, 2), 2);
  assert.equal(database.statement("SELECT 1"), database.statement("SELECT 1"), "prepared once");
  assert.equal(database.transact(() => database.run("INSERT INTO t VALUES (3)")), 1);
  assert.throws(
    () =>
      database.transact(() => {
        database.run("INSERT INTO t VALUES (4)");
        database.run("INSERT INTO t VALUES (1)");
      }),
    (error: ServerError) =>
      error instanceof ServerError && !error.isRetryable &&
      error.message === `Cannot use database "${place.path}": UNIQUE constraint failed: t.n`,
  );
  assert.deepEqual(database.all("SELECT n FROM t").map((row) => row["n"]), [1, 2, 3]);
  assert.equal(database.get("SELECT n FROM t WHERE n = ?", 9), undefined);
  database.close();
  database.close();
  assert.throws(() => database.transact(() => 1), /is closed$/);
});

Deno.test("Database: an error of our own passes through a transaction as it is", async () => {
  using place = new Place();
  const database = await place.open();
  const mine = new OperatingError("mine");
  assert.throws(() =>
    database.transact(() => {
      throw mine;
    }), (error) => error === mine);
  assert.equal(database.transact(() => 1), 1, "rolled back");
  database.close();
});

Deno.test("Database: what cannot be opened is of a class that says why", async () => {
  using place = new Place();
  const rejects = async (path: string, kind: new (...args: never[]) => Error, message: RegExp) => {
    await assert.rejects(place.open(path), (error: Error) => {
      assert.ok(error instanceof kind, `${error.name} of ${path}`);
      assert.match(error.message, message);
      return true;
    });
  };
  Deno.writeTextFileSync(`${place.folder}/text.db`, "not a database at all. ".repeat(100));
  await rejects(
    `${place.folder}/text.db`,
    AccessRefused,
    /^Cannot open database ".*": file is not a database; move it and the files beside it away, or name another$/,
  );
  await rejects(place.folder, AccessRefused, /^Cannot open database ".*": it is a folder$/);
  await rejects(
    `${place.folder}/text.db/x.db`,
    AccessRefused,
    /^Cannot open database ".*": Cannot create folder/,
  );
});

Deno.test("Database: another process's transaction makes an error that says to try again", async () => {
  using place = new Place();
  const database = await place.open();
  {
    using _lock = place.lock();
    for (
      const write of [
        () => database.transact(() => 1),
        () => database.run("INSERT INTO t VALUES (1)"),
        () => database.exec("INSERT INTO t VALUES (1)"),
      ]
    ) {
      assert.throws(
        write,
        (error: ServerError) => error.isRetryable && /database is locked$/.test(error.message),
      );
    }
    assert.deepEqual(database.all("SELECT n FROM t"), [], "reading goes on");
  }
  assert.equal(database.run("INSERT INTO t VALUES (1)"), 1);
  database.close();
});

Deno.test("Database: a database that another process keeps locked is given up after five seconds, not before", async () => {
  using place = new Place();
  (await place.open()).close();
  // Each try blocks for a quarter of a second of real time; between two, 1.3 s of this clock pass.
  let nowMs = 0;
  const jumping: Clock = {
    wallMs: () => clock.wallMs(),
    monoMs: () => nowMs,
    arm: (atMs, fn) => clock.arm(atMs, fn),
    defer: (fn) => clock.defer(fn),
    sleep: () => Promise.resolve(void (nowMs += 1300)),
  };
  const world = { ...fakeWorld(), clock: jumping };
  const users: [string, () => Promise<AsyncDisposable>][] = [
    ["database", () => connect(world, place.url, CONNECT_OPTIONS)],
    ["the result store", () => openBackend(world, place.url, backendOptions())],
  ];
  using _lock = place.lock();
  for (const [noun, open] of users) {
    nowMs = 0;
    await assert.rejects(open(), (error: DialError) => {
      assert.ok(error instanceof DialError && error.isRetryable, error.name);
      assert.equal(error.message, `Cannot open ${noun} "${place.path}": database is locked`);
      return true;
    });
    assert.equal(nowMs, 5200);
  }
});

Deno.test("Database: broker and result store wait for another process longer than SQLite itself does", async () => {
  using place = new Place();
  const world = realTestWorld();
  await using broker = await connect(world, place.url, CONNECT_OPTIONS);
  await using store = await openBackend(world, place.url, backendOptions());
  const locked = place.lock();
  // Each of them blocks this isolate for a quarter of a second; then the timer runs.
  setTimeout(() => locked[Symbol.dispose](), 0);
  await Promise.all([
    broker.declare(queue("celery")),
    store.saveGroup("g", "[]"),
    stored(store, resultRecord("t", "SUCCESS", 1)),
  ]);
  assert.equal(await broker.queueLength("celery"), 0);
  assert.equal(await store.fetchGroup("g"), "[]");
});

Deno.test("Database: files are their user's alone, another program's stay as they are", async () => {
  using place = new Place();
  const modeOf = (path: string) => Deno.statSync(path).mode! & 0o777;
  const mask = Deno.umask(0);
  try {
    for (const noun of ["broker", "store"]) {
      const path = `${place.folder}/${noun}.db`;
      const url = `sqlite://${path}`;
      const open = (): Promise<AsyncDisposable> =>
        noun === "broker"
          ? connect(realTestWorld(), url, CONNECT_OPTIONS)
          : openBackend(realTestWorld(), url, backendOptions());
      await (await open())[Symbol.asyncDispose]();
      Deno.chmodSync(path, 0o666);
      await using _again = await open();
      for (const suffix of ["", "-wal", "-shm"]) assert.equal(modeOf(path + suffix), 0o600, noun + suffix);
    }
    const other = `${place.folder}/other.db`;
    using theirs = new DatabaseSync(other);
    theirs.exec("CREATE TABLE theirs (x)");
    (await place.open(other)).close();
    assert.equal(modeOf(other), 0o644);
  } finally {
    Deno.umask(mask);
  }
});

Deno.test("Database: a file that was removed is noticed, since nobody else would see what is written", async () => {
  const { clock } = fakeWorld();
  for (const whenReplaced of ["fail", "reopen"] as const) {
    using place = new Place();
    const open = () =>
      Database.open({
        path: place.path,
        clock,
        noun: "database",
        whenReplaced,
        makeTables: (database) => database.exec("CREATE TABLE IF NOT EXISTS t (n INTEGER UNIQUE)"),
      });
    const ours = await open();
    ours.run("INSERT INTO t VALUES (1)");
    for (const { name } of [...Deno.readDirSync(`${place.folder}/new`)]) {
      Deno.removeSync(`${place.folder}/new/${name}`);
    }
    const theirs = await open();
    theirs.run("INSERT INTO t VALUES (2)");
    await clock.advance(1000);
    if (whenReplaced === "fail") {
      for (let time = 0; time < 2; time++) {
        assert.throws(
          () => ours.run("INSERT INTO t VALUES (3)"),
          /Lost database ".*": its file was removed or replaced/,
        );
      }
      assert.throws(() => ours.transact(() => {}), ConnectionLost);
    } else {
      ours.transact(() => ours.run("INSERT INTO t VALUES (3)"));
      assert.equal(ours.openings, 2);
    }
    const numbers = theirs.all("SELECT n FROM t ORDER BY n").map(({ n }) => n);
    assert.deepEqual(numbers, whenReplaced === "fail" ? [2] : [2, 3]);
    // Closing leaves what the others have beside their file.
    ours.close();
    theirs.run("INSERT INTO t VALUES (4)");
    theirs.close();
  }
});

Deno.test("the embedded broker: a file that was removed is the end of its connections, and the next go on", async () => {
  using place = new Place();
  const world = fakeWorld();
  const connection = await connect(world, place.url, CONNECT_OPTIONS);
  await connection.declare(queue("q"));
  for (const { name } of [...Deno.readDirSync(`${place.folder}/new`)]) {
    Deno.removeSync(`${place.folder}/new/${name}`);
  }
  await world.clock.advance(1000);
  const message = { exchange: "", routingKey: "q", message: textMessage("1"), queue: queue("q") };
  await assert.rejects(connection.publish([message]), /its file was removed or replaced/);
  assert.match((await connection.lost)!.message, /its file was removed/);
  await using next = await connect(world, place.url, CONNECT_OPTIONS);
  await next.declare(queue("q"));
  await next.publish([message]);
  assert.equal(await next.queueLength("q"), 1);
});
