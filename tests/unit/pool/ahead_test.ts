/** A process that was started ahead, and comes before anybody has asked for it. */

import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import type { World } from "../../../lib/base/mod.ts";
import { encodeFrame, FRAME, FrameReader } from "../../../lib/pool/frame.ts";
import { processLinks } from "../../../lib/pool/process_link.ts";
import { TOKEN_VARIABLE } from "../../../lib/pool/slot_message.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

const INIT = { name: "ForkPoolWorker-1", isConcurrent: false, child: { hasNoSandbox: true } } as never;

/** A World whose processes are none: the test speaks for them, by address and token. */
function mute(world: World): { world: World; started: { address: string; token: string }[] } {
  const started: { address: string; token: string }[] = [];
  const spawner: World["spawner"] = {
    ...world.spawner,
    spawnSelf({ args, env }) {
      started.push({ address: args[1]!, token: env![TOKEN_VARIABLE]! });
      return {
        pid: 1,
        ended: new Promise(() => {}),
        stdout: null,
        stderr: null,
        stdin: null,
        kill: () => {},
      };
    },
  };
  return { world: { ...world, spawner }, started };
}

function dial(address: string, token: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect(address.startsWith("@") ? `\0${address.slice(1)}` : address, () => {
    socket.write(encodeFrame(FRAME.hello, token));
    resolve(socket);
  });
  socket.on("error", reject);
  return promise;
}

Deno.test("processLinks: one started ahead that shows its token before it is wanted is not turned away", async () => {
  const { world, started } = mute(realTestWorld());
  const links = processLinks(world);
  links.startAhead();
  const { address, token } = started[0]!;
  // The listener comes up in the next turn.
  await new Promise((done) => world.clock.defer(() => done(null)));
  const early = await dial(address, token);
  // When a stranger who came later has been turned away, the first one has been heard.
  const stranger = await dial(address, "stranger");
  await new Promise((done) => stranger.on("close", done));
  assert.equal(early.destroyed, false);
  const told = new Promise<string>((done) => {
    const reader = new FrameReader();
    early.on("data", (chunk) => reader.feed(new Uint8Array(chunk), (frame) => done(frame.head)));
  });
  const link = links.open(INIT, { onBytes: () => {}, onEnded: () => {} });
  assert.equal(started.length, 1);
  assert.equal(JSON.parse(await told).name, "ForkPoolWorker-1");
  const gone = new Promise((done) => early.on("close", done));
  link.release();
  links.close();
  await gone;
});
