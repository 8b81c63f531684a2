/**
 * The ledger on every broker that has one: leases, and records that change together with published messages.
 */

import assert from "node:assert/strict";
import { connect, type Connection, type LedgerEntry, queue } from "../../lib/transport/mod.ts";
import { eventually } from "../support/ports.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { type RedisServer, startRabbit, startRedis } from "../support/servers.ts";
import { textMessage, textOf } from "./transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";

interface Lab {
  name: string;
  open(): Promise<{ url: string; redis: RedisServer | null; close(): Promise<void> }>;
}

const LABS: Lab[] = [
  {
    name: "memory",
    open: () =>
      Promise.resolve({
        url: `memory://${crypto.randomUUID()}`,
        redis: null,
        close: () => Promise.resolve(),
      }),
  },
  {
    name: "sqlite",
    async open() {
      const folder = await Deno.makeTempDir();
      return {
        url: `sqlite://${folder}/broker.db`,
        redis: null,
        close: () => Deno.remove(folder, { recursive: true }),
      };
    },
  },
  {
    name: "redis",
    async open() {
      const redis = await startRedis();
      return { url: redis.url(), redis, close: () => redis.stop() };
    },
  },
];

const world = realTestWorld();
const plain = queue("q");

function entry(key: string, expected: string | null, value: string, text: string | null = null): LedgerEntry {
  const message = text === null ? null : { exchange: "", routingKey: "q", message: textMessage(text) };
  return { key, expected, value, message };
}

for (const lab of LABS) {
  Deno.test(`ledger on ${lab.name}`, async (t) => {
    const place = await lab.open();
    const open = () => connect(world, place.url, CONNECT_OPTIONS);
    const one = await open();
    const two = await open();
    try {
      await suite(t, one, two, place.redis);
    } finally {
      await one.close();
      await two.close();
      await place.close();
    }
  });
}

/**
 * RabbitMQ's leases end with their connection instead of with time, and a connection holds one lease. The
 * rest is the same.
 */
Deno.test("ledger on amqp", async (t) => {
  await using rabbit = await startRabbit();
  const open = () => connect(world, rabbit.url(), CONNECT_OPTIONS);
  const one = await open();
  let two = await open();
  const under = (token: number) => ({ namespace: "b", lease: "b:l", token, leaseMs: 5000 });
  await one.declare(plain);
  const waiting = async (connection: Connection) => {
    const texts: string[] = [];
    for (let note; (note = await connection.take("q")) !== null;) texts.push(textOf(note));
    return texts;
  };
  let token = 0;

  await t.step("one holds the lease; the other is asked to try later", async () => {
    token = (await one.ledger!.lease("b:l", "A", 5000, 0)).token;
    assert.ok(token > 0);
    assert.equal((await one.ledger!.lease("b:l", "A", 5000, token)).token, token);
    const refused = await two.ledger!.lease("b:l", "A", 5000, 0);
    assert.equal(refused.token, 0);
    assert.ok(refused.leftMs > 0);
  });

  await t.step("a record and its message change together; a wrong expected value does neither", async () => {
    const ledger = one.ledger!;
    assert.equal((await ledger.records("b")).size, 0);
    assert.deepEqual(
      await ledger.commit(under(token), [entry("x", null, "1", "m1"), entry("y", null, "1")]),
      [
        null,
        null,
      ],
    );
    assert.deepEqual(
      await ledger.commit(under(token), [entry("x", "1", "2", "m2"), entry("y", "9", "2", "no")]),
      [
        null,
        "1",
      ],
    );
    assert.deepEqual(await waiting(one), ["m1", "m2"]);
    await ledger.forget("b", ["y"]);
    assert.equal(await ledger.commit(under(token - 1), [entry("x", "2", "3", "no")]), null);
    assert.equal(await two.ledger!.commit(under(token), [entry("x", "2", "3", "no")]), null);
    assert.deepEqual(await waiting(one), []);
  });

  await t.step(
    "many changes: the queue of records stays short, and the next holder reads all records",
    async () => {
      for (let n = 0; n < 320; n++) {
        const expected = n === 0 ? null : String(n - 1);
        assert.deepEqual(
          await one.ledger!.commit(under(token), [entry(`k${n % 7}`, n < 7 ? null : String(n - 7), `${n}`)]),
          [
            null,
          ],
          expected ?? "",
        );
      }
      const [line] = (await rabbit.ctl("list_queues", "--quiet", "name", "messages")).split("\n").filter((
        text,
      ) => text.startsWith("lovage.book"));
      assert.ok(Number(line!.split("\t")[1]) <= 250, line);
      await one.close();
      const next = await eventually(async () => {
        const state = await two.ledger!.lease("b:l", "B", 5000, 0);
        return state.token > 0 ? state : null;
      }, "the lease is free");
      const records = await two.ledger!.records("b");
      assert.deepEqual(
        [...records].sort(),
        [...Array.from({ length: 7 }, (_, k) => [`k${(313 + k) % 7}`, `${313 + k}`]), ["x", "2"]].sort(),
      );
      assert.deepEqual(await two.ledger!.commit(under(next.token), [entry("x", "2", "3", "m3")]), [null]);
      await two.ledger!.release("b:l", next.token);
    },
  );

  await t.step("after a release the next holder gets the lease and reads the records", async () => {
    await two.close();
    two = await open();
    const state = await two.ledger!.lease("b:l", "C", 5000, 0);
    assert.ok(state.token > 0);
    assert.equal((await two.ledger!.records("b")).get("x"), "3");
    assert.deepEqual(await waiting(two), ["m3"]);
  });
  await two.close();
});

async function suite(t: Deno.TestContext, one: Connection, two: Connection, redis: RedisServer | null) {
  const a = one.ledger!;
  const b = two.ledger!;
  await one.declare(plain);
  await two.declare(plain);
  const waiting = async () => {
    const texts: string[] = [];
    for (let note; (note = await one.take("q")) !== null;) texts.push(textOf(note));
    return texts;
  };

  await t.step("one holds the lease; the other learns for how long", async () => {
    assert.deepEqual(await a.lease("l1", "A", 5000, 0), { token: 1, leftMs: 5000 });
    const refused = await b.lease("l1", "B", 5000, 0);
    assert.equal(refused.token, 0);
    assert.ok(refused.leftMs > 4000 && refused.leftMs <= 5000);
    assert.deepEqual(await a.lease("l1", "A", 9000, 1), { token: 1, leftMs: 9000 });
    assert.ok((await b.lease("l1", "B", 5000, 0)).leftMs > 8000);
    assert.deepEqual([await b.holder!("l1"), await b.holder!("l0")], ["A", null]);
  });

  await t.step(
    "after a release the next holder gets a greater token, and the old token is void",
    async () => {
      await a.release("l1", 1);
      assert.equal(await b.holder!("l1"), null);
      assert.deepEqual(await b.lease("l1", "B", 5000, 0), { token: 2, leftMs: 5000 });
      assert.equal((await a.lease("l1", "A", 5000, 1)).token, 0);
      await a.release("l1", 1);
      assert.equal((await a.lease("l1", "A", 5000, 0)).token, 0);
    },
  );

  await t.step("the same owner takes its lease again at once under a new token", async () => {
    assert.equal((await a.lease("l2", "A", 60_000, 0)).token, 1);
    assert.equal((await b.lease("l2", "A", 60_000, 0)).token, 2);
    assert.equal((await a.lease("l2", "A", 60_000, 1)).token, 0);
  });

  await t.step("after its end anybody may take the lease, and its holder must take it again", async () => {
    await a.lease("l3", "A", 60, 0);
    const taken = await eventually(async () => {
      const state = await b.lease("l3", "B", 60, 0);
      return state.token > 0 ? state : null;
    }, "the lease ends");
    assert.equal(taken.token, 2);
    const again = await eventually(async () => {
      const state = await a.lease("l3", "A", 5000, 1);
      return state.token > 0 ? state : null;
    }, "the lease ends");
    assert.equal(again.token, 3);
  });

  await t.step("a record and its message change together; a wrong expected value does neither", async () => {
    const under = {
      namespace: "b1",
      lease: "l4",
      token: (await a.lease("l4", "A", 5000, 0)).token,
      leaseMs: 5000,
    };
    assert.deepEqual(await a.commit(under, [entry("x", null, "1", "m1"), entry("y", null, "1")]), [
      null,
      null,
    ]);
    assert.deepEqual(await a.commit(under, [entry("x", "1", "2", "m2"), entry("y", "9", "2", "no")]), [
      null,
      "1",
    ]);
    assert.deepEqual(await a.commit(under, [entry("x", null, "3", "no")]), ["2"]);
    assert.deepEqual([...await b.records("b1")].sort(), [["x", "2"], ["y", "1"]]);
    assert.deepEqual(await waiting(), ["m1", "m2"]);
    await a.forget("b1", ["y"]);
    assert.deepEqual([...await b.records("b1")], [["x", "2"]]);
    assert.deepEqual(await a.commit(under, [entry("y", "long ago", "7", "m3")]), [null], "a lost record");
    assert.deepEqual(await waiting(), ["m3"]);
  });

  await t.step("a holder whose lease was taken over changes nothing", async () => {
    const token = (await a.lease("l5", "A", 60_000, 0)).token;
    assert.equal((await b.lease("l5", "A", 60_000, 0)).token, token + 1);
    const old = { namespace: "b2", lease: "l5", token, leaseMs: 5000 };
    assert.equal(await a.commit(old, [entry("x", null, "1", "no")]), null);
    assert.equal((await a.records("b2")).size, 0);
    assert.deepEqual(await waiting(), []);
  });

  await t.step("a commit renews the lease", async () => {
    const token = (await a.lease("l6", "A", 1000, 0)).token;
    await a.commit({ namespace: "b3", lease: "l6", token, leaseMs: 30_000 }, [entry("x", null, "1")]);
    assert.ok((await b.lease("l6", "B", 1000, 0)).leftMs > 20_000);
  });

  await t.step("many changes at once, in order", async () => {
    const under = {
      namespace: "b4",
      lease: "l7",
      token: (await a.lease("l7", "A", 5000, 0)).token,
      leaseMs: 5000,
    };
    const texts = Array.from({ length: 250 }, (_, n) => `m${n}`);
    const found = await a.commit(under, texts.map((text) => entry(text, null, "1", text)));
    assert.ok(found !== null && found.length === 250 && found.every((one) => one === null));
    assert.deepEqual(await waiting(), texts);
    assert.equal((await b.records("b4")).size, 250);
  });

  if (redis) {
    await t.step("keys on Redis expire", async () => {
      for (const key of (await redis.cli("keys", "lovage:*")).split("\n")) {
        assert.ok(Number(await redis.cli("ttl", key)) > 0, key);
      }
    });
  }
}
