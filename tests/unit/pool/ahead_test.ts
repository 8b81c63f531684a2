/** A pool's socket: who is let in, what is read of others, and a process that comes before anybody has asked for it. */

import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import type { World } from "../../../lib/base/mod.ts";
import { encodeFrame, FRAME, type Frame, FrameReader } from "../../../lib/pool/link/frame.ts";
import { processLinks } from "../../../lib/pool/link/process.ts";
import { readTokenText, TOKEN_VARIABLE, tokenText } from "../../../lib/pool/link/slot_message.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { filePath } from "../../../lib/base/mod.ts";

const CHILD = filePath(new URL("../../support/plain_child.ts", import.meta.url));
const INIT = { name: "ForkPoolWorker-1", isConcurrent: false, child: { hasNoSandbox: true } } as never;

/** What a process was told at its start. */
interface Told {
  readonly address: string;
  readonly token: string;
  readonly proof: string;
}

/** A World whose processes are none: the test speaks for them, by address and token. */
function mute(world: World): { world: World; started: Told[] } {
  const started: Told[] = [];
  const spawner: World["spawner"] = {
    ...world.spawner,
    spawnSelf({ args, env }) {
      started.push({ address: args[1]!, ...readTokenText(env![TOKEN_VARIABLE]!) });
      const { promise: ended, resolve } = Promise.withResolvers<{ code: number; signal: string | null }>();
      return {
        pid: 1,
        ended,
        stdout: null,
        stderr: null,
        stdin: null,
        kill: (signal) => resolve({ code: 137, signal }),
      };
    },
  };
  return { world: { ...world, spawner }, started };
}

/** Connects; `token` null says nothing. */
function dial(address: string, token: string | null): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect(address.startsWith("@") ? `\0${address.slice(1)}` : address, () => {
    if (token !== null) socket.write(encodeFrame(FRAME.hello, token));
    resolve(socket);
  });
  socket.on("error", reject);
  return promise;
}

function firstFrame(socket: Socket): Promise<Frame> {
  const { promise, resolve } = Promise.withResolvers<Frame>();
  const reader = new FrameReader();
  socket.on("data", (chunk) => reader.feed(new Uint8Array(chunk), resolve));
  return promise;
}

function closed(socket: Socket): Promise<unknown> {
  socket.on("error", () => {}); // what was written has nobody to read it
  return socket.destroyed ? Promise.resolve() : new Promise((done) => socket.on("close", done));
}

Deno.test("processLinks: one started ahead that shows its token before it is wanted is not turned away", async () => {
  const { world, started } = mute(realTestWorld());
  const links = processLinks(world);
  links.startAhead();
  const { address, token, proof } = started[0]!;
  const early = await dial(address, token);
  // When a stranger who came later has been turned away, the first one has been heard.
  const stranger = await dial(address, "stranger");
  await new Promise((done) => stranger.on("close", done));
  assert.equal(early.destroyed, false);
  const told = firstFrame(early);
  const link = links.open(INIT, { onBytes: () => {}, onEnded: () => {} });
  assert.equal(started.length, 1);
  const { head, text } = await told;
  assert.equal(JSON.parse(head).name, "ForkPoolWorker-1");
  assert.equal(text, proof);
  const gone = new Promise((done) => early.on("close", done));
  link.release();
  await links.close();
  await gone;
});

Deno.test("processLinks: who shows no token is closed at the first bytes that are no hello", async () => {
  const { world, started } = mute(realTestWorld());
  const links = processLinks(world);
  links.startAhead();
  const { address } = started[0]!;
  // The header of a frame that claims a gigabyte, a hello that is too long, one in pieces, another frame, no frame.
  const huge = new Uint8Array(64);
  new DataView(huge.buffer).setUint32(0, 1 << 30, true);
  huge[4] = FRAME.hello;
  const wrong = encodeFrame(FRAME.hello, "stranger");
  for (
    const bytes of [
      huge,
      encodeFrame(FRAME.hello, "t".repeat(500)),
      encodeFrame(FRAME.ready, "0"),
      new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"),
      new Uint8Array([...wrong, ...wrong]),
    ]
  ) {
    const socket = await dial(address, null);
    socket.write(bytes);
    await closed(socket);
  }
  await links.close();
});

Deno.test("processLinks: strangers who say nothing make way, and have their time", async () => {
  const real = realTestWorld();
  const deadlines = new Set<() => void>();
  const clock = Object.create(real.clock, {
    arm: {
      value: (_at: number, fn: () => void) => {
        deadlines.add(fn);
        return () => deadlines.delete(fn);
      },
    },
  });
  const { world, started } = mute({ ...real, clock });
  const links = processLinks(world);
  links.startAhead();
  const { address, token } = started[0]!;
  const silent: Socket[] = [];
  for (let n = 0; n < 65; n++) silent.push(await dial(address, null));
  await closed(silent[0]!);
  const child = await dial(address, token);
  const told = firstFrame(child);
  await closed(silent[1]!);
  const link = links.open(INIT, { onBytes: () => {}, onEnded: () => {} });
  assert.equal((await told).type, FRAME.init);
  assert.equal(silent[2]!.destroyed, false);
  for (const end of deadlines) end();
  await Promise.all(silent.map(closed));
  assert.equal(child.destroyed, false);
  const gone = closed(child);
  link.release();
  await links.close();
  await gone;
});

Deno.test("pool child: runs nothing for who does not show what its worker alone knows", async () => {
  const folder = Deno.makeTempDirSync();
  const server = createServer();
  try {
    await new Promise<void>((done) => server.listen(`${folder}/pool`, done));
    const greeted = new Promise<Socket>((done) => server.on("connection", done));
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "-q", "--no-check", CHILD, "pool-child", `${folder}/pool`],
      env: { [TOKEN_VARIABLE]: tokenText("token", "proof") },
    }).spawn();
    const socket = await greeted;
    assert.equal((await firstFrame(socket)).head, "token");
    Deno.writeTextFileSync(`${folder}/tasks.js`, `Deno.writeTextFileSync("${folder}/ran", "")`);
    socket.write(encodeFrame(FRAME.init, JSON.stringify({ child: { app: `${folder}/tasks.js` } }), "guess"));
    await closed(socket);
    assert.equal((await child.status).code, 0);
    assert.throws(() => Deno.statSync(`${folder}/ran`), Deno.errors.NotFound);
  } finally {
    server.close();
    Deno.removeSync(folder, { recursive: true });
  }
});
