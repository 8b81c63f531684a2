// Goal: the answers of a cluster's nodes are read as the specification says, and no sink hears of a redirection.
import assert from "node:assert/strict";
import type { Address } from "../../../lib/base/mod.ts";
import { loadSlotOf, readSlots, redirectionOf } from "../../../lib/redis/cluster.ts";
import { Redirects } from "../../../lib/redis/redirects.ts";
import type { ReplySink } from "../../../lib/redis/reply_queue.ts";
import { type Reply, type RespArg, RespError } from "../../../lib/wire/mod.ts";
import { FakeClock } from "../../support/fake_world.ts";

const ASKED = { host: "seed", port: 7000 };
const ADDRESS: Address = { kind: "tcp", host: "seed", port: 7000, tls: null };

Deno.test("loadSlotOf: slots of the specification, by the hash tag where there is one", async () => {
  const slotOf = await loadSlotOf();
  assert.equal(slotOf("123456789"), 0x31c3);
  assert.equal(slotOf("{user1000}.following"), slotOf("{user1000}.followers"));
  assert.equal(slotOf("foo{bar}{zap}"), slotOf("bar"));
  assert.notEqual(slotOf("foo{}{bar}"), slotOf("bar"));
});

Deno.test("readSlots: a node without a name is where it was asked; a hidden one cannot be used", () => {
  const node = (host: string | null, port: number): Reply => [host, port, "id", []];
  assert.deepEqual(
    readSlots([[0, 99, node("a", 1), node("b", 2), node("?", 3)], [100, 200, node("", 4)], [
      201,
      300,
      node(null, 5),
    ], [301, 400, node("?", 6)]], ASKED),
    [
      { from: 0, to: 99, master: { host: "a", port: 1 }, replicas: [{ host: "b", port: 2 }] },
      { from: 100, to: 200, master: { host: "seed", port: 4 }, replicas: [] },
      { from: 201, to: 300, master: { host: "seed", port: 5 }, replicas: [] },
    ],
  );
  assert.deepEqual(readSlots("no list", ASKED), []);
});

Deno.test("redirectionOf: host and port of MOVED and ASK, IPv6 too", () => {
  const of = (text: string) => redirectionOf(new RespError(text), "seed");
  assert.deepEqual(of("MOVED 3999 127.0.0.1:6381"), { host: "127.0.0.1", port: 6381 });
  assert.deepEqual(of("ASK 3999 ::1:6381"), { host: "::1", port: 6381 });
  assert.deepEqual(of("MOVED 3999 :6381"), { host: "seed", port: 6381 });
  assert.equal(of("ERR no"), null);
});

/** A connection whose commands and end are recorded. */
class Recorded {
  readonly clock = new FakeClock();
  readonly sent: { args: readonly RespArg[]; sink: ReplySink }[] = [];
  readonly asked: { args: readonly RespArg[]; sink: ReplySink | null }[] = [];
  readonly opened: Address[] = [];
  failure: Error | null = null;
  readonly redirects = new Redirects({
    address: ADDRESS,
    clock: this.clock,
    send: (args, sink) => void this.sent.push({ args, sink }),
    fail: (error) => {
      if (this.failure !== null) return;
      this.failure = error;
      this.redirects.end(error);
    },
    onUnheardError: () => {},
    open: (address) => {
      this.opened.push(address);
      return Promise.resolve({
        send: (args: readonly RespArg[], sink: ReplySink | null) => void this.asked.push({ args, sink }),
        close: () => Promise.resolve(),
      });
    },
  });
  readonly heard: Reply[] = [];
  lost = 0;
  readonly sink: ReplySink = {
    onReply: (reply) => void this.heard.push(reply),
    onLost: () => void this.lost++,
  };
}

Deno.test("Redirects: ASK goes to the named node after ASKING, and the sink hears its answer", async () => {
  const recorded = new Recorded();
  const args = ["GET", "k"];
  const sink = recorded.redirects.wrap(args, recorded.sink);
  args.length = 0;
  sink.onReply(new RespError("ASK 1 other:7001"));
  await Promise.resolve();
  assert.deepEqual(recorded.opened, [{ ...ADDRESS, host: "other", port: 7001 }]);
  assert.deepEqual(recorded.asked.map((one) => one.args), [["ASKING"], ["GET", "k"]]);
  recorded.asked[1]!.sink!.onReply("v");
  assert.deepEqual([recorded.heard, recorded.lost], [["v"], 0]);
});

Deno.test("Redirects: TRYAGAIN is tried again after growing pauses, and given up after half a minute", async () => {
  const recorded = new Recorded();
  let sink = recorded.redirects.wrap(["EVAL"], recorded.sink);
  for (let n = 0; n < 3; n++) {
    sink.onReply(new RespError("TRYAGAIN later"));
    await recorded.clock.advance(20 * 2 ** n - 1);
    assert.equal(recorded.sent.length, n);
    await recorded.clock.advance(1);
    assert.equal(recorded.sent.length, n + 1);
    sink = recorded.redirects.wrap(recorded.sent[n]!.args, recorded.sent[n]!.sink);
  }
  assert.equal(sink, recorded.sent[0]!.sink, "it is wrapped once");
  await recorded.clock.advance(31_000);
  sink.onReply(new RespError("TRYAGAIN later"));
  assert.match(String(recorded.failure), /TRYAGAIN/);
  assert.deepEqual([recorded.heard, recorded.lost], [[], 1]);
});

Deno.test("Redirects: MOVED gives the connection up, and each sink hears of it once", async () => {
  for (const text of ["MOVED 1 b:7001", "CLUSTERDOWN Hash slot not served", "READONLY no"]) {
    const recorded = new Recorded();
    const first = recorded.redirects.wrap(["HDEL"], recorded.sink);
    const second = recorded.redirects.wrap(["ZREM"], recorded.sink);
    recorded.redirects.wrap(["EVAL"], recorded.sink).onReply(new RespError("TRYAGAIN later"));
    first.onReply(new RespError(text));
    second.onLost(recorded.failure!);
    assert.ok(recorded.failure !== null);
    assert.deepEqual([recorded.heard, recorded.lost], [[], 1]);
    await recorded.clock.advance(60_000);
    assert.equal(recorded.sent.length, 0, "nothing is tried on a lost connection");
  }
});
