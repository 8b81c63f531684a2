import assert from "node:assert/strict";
import { ConnectionLost, ProtocolError } from "../../../lib/base/mod.ts";
import { BatchedStream } from "../../../lib/net/mod.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

/** A stream over a script: what is read comes from `arrive`, what is written is kept until `pass` lets it through. */
function scripted() {
  const written: string[] = [];
  const passing: (() => void)[] = [];
  const reads: ((bytes: Uint8Array | null) => void)[] = [];
  let isClosed = false;
  return {
    written,
    get isClosed() {
      return isClosed;
    },
    pass: () => passing.shift()!(),
    arrive: (text: string | null) => reads.shift()!(text === null ? null : new TextEncoder().encode(text)),
    stream: {
      read: (buffer: Uint8Array) =>
        new Promise<number | null>((resolve) =>
          reads.push((bytes) => {
            if (bytes !== null) buffer.set(bytes);
            resolve(bytes === null ? null : bytes.length);
          })
        ),
      write(bytes: Uint8Array) {
        written.push(new TextDecoder().decode(bytes));
        return new Promise<void>((resolve) => passing.push(resolve));
      },
      close: () => void (isClosed = true),
    },
  };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
const ADDRESS = { kind: "tcp", host: "::1", port: 99, tls: null } as const;

function open(onBytes: (text: string) => void = () => {}, onWrite: () => void = () => {}) {
  const script = scripted();
  const ends: Error[] = [];
  const stream = new BatchedStream(realTestWorld().clock, script.stream, ADDRESS, {
    onBytes: (chunk) => onBytes(new TextDecoder().decode(chunk)),
    onWrite,
    onEnd: (failure) => ends.push(failure),
  });
  return { script, stream, ends };
}

Deno.test("BatchedStream: a turn's bytes leave in one write, and what comes during it in the next", async () => {
  const { script, stream } = open(() => {}, () => void (stream.outbox.length > 0 && stream.outbox.text("!")));
  for (const word of ["a", "b", "c"]) {
    stream.outbox.text(word);
    stream.touch();
  }
  assert.deepEqual(script.written, []);
  await turn();
  stream.outbox.text("d");
  stream.touch();
  stream.flush();
  stream.outbox.text("e");
  const drained = stream.drained(0);
  assert.deepEqual(script.written, ["abc!"]);
  script.pass();
  await drained;
  assert.deepEqual(script.written, ["abc!", "de!"]);
  assert.equal(stream.isBusy, true);
  script.pass();
  await turn();
  assert.equal(stream.isBusy, false);
});

Deno.test("BatchedStream: it ends once, and says by what", async () => {
  const cases: [string, (of: ReturnType<typeof open>) => void, RegExp | null][] = [
    [
      "the peer",
      ({ script }) => script.arrive(null),
      /Lost the connection to \[::1\]:99: the server closed it/,
    ],
    ["its bytes", ({ script }) => script.arrive("wrong"), /wrong/],
    ["its owner", ({ stream }) => stream.fail(new ConnectionLost("given up")), /given up/],
    ["closing", ({ stream }) => stream.close(0, () => Promise.resolve()), null],
  ];
  for (const [name, act, told] of cases) {
    const opened = open((text) => {
      throw new ProtocolError(text);
    });
    const { stream, script, ends } = opened;
    await stream.logIn({ timeoutMs: 1000 }, () => new Error("late"), () => Promise.resolve());
    act(opened);
    const lost = await stream.lost;
    stream.fail(new Error("again"));
    assert.equal(ends.length, 1, name);
    assert.ok(script.isClosed, name);
    if (told === null) assert.equal(lost, null);
    else assert.match(lost!.message, told);
    await stream.drained(0);
  }
});

Deno.test("BatchedStream: a login has its time, and can be given up", async () => {
  const never = () => new Promise<never>(() => {});
  const late = open();
  const waiting = late.stream.logIn({ timeoutMs: 5 }, () => new Error("late"), async () => {
    throw await late.stream.lost;
  });
  await assert.rejects(waiting, /late/);
  const given = open();
  const abort = new AbortController();
  const aborted = given.stream.logIn(
    { timeoutMs: 1000, signal: abort.signal },
    () => new Error("late"),
    () => Promise.race([never(), given.stream.lost.then((cause) => Promise.reject(cause))]),
  );
  abort.abort(new Error("no more"));
  await assert.rejects(aborted, /no more/);
  assert.ok(given.script.isClosed);
});
