// Goal: a password of broker and result store that changes every few seconds, with every connection killed, loses no
// task and holds nobody up.

import assert from "node:assert/strict";
import { App } from "../../lib/app/mod.ts";
import { type Place, startWorker } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";

const TASKS = 5000;
const BATCH = 50;
const ROTATE_MS = 5000;
/** What a machine that is five times slower may take where this one takes one second. */
const GAP_MAX_MS = 5000;

Deno.test("a password that changes every 5 s while 5,000 tasks run: none is lost, and nobody waits long", async () => {
  await using redis = await startRedis({ password: "admin" });
  const folder = await Deno.makeTempDir({ prefix: "lovage-credentials-" });
  let password = "first";
  let number = 0;
  const setPassword = async (next: string) => {
    await redis.cli("acl", "setuser", "shop", "on", "resetpass", `>${next}`, "~*", "&*", "+@all");
    password = next;
    await Deno.writeTextFile(`${folder}/password.new`, `${next}\n`);
    await Deno.rename(`${folder}/password.new`, `${folder}/password`);
  };
  await setPassword("pass-0");
  const command = `${folder}/tell`;
  await Deno.writeTextFile(command, `#!/bin/sh\nexec cat '${folder}/password'\n`);
  await Deno.chmod(command, 0o755);
  const url = `redis://shop@127.0.0.1:${redis.port}/0`;
  const options = { password_command: command };
  const place: Place = {
    broker: url,
    backend: url,
    conf: { broker_transport_options: options, result_backend_transport_options: options },
  };
  const worker = await startWorker(place, ["-P", "solo"], { level: "WARNING", isReady: false });
  const credentials = () => Promise.resolve({ username: "shop", password });
  const app = new App("shop", {
    broker_url: `redis://127.0.0.1:${redis.port}/0`,
    result_backend: `redis://127.0.0.1:${redis.port}/0`,
    broker_transport_options: { credentials },
    result_backend_transport_options: { credentials },
  }, { world: realTestWorld() });
  const rotation = setInterval(async () => {
    await setPassword(`pass-${++number}`);
    await redis.cli("client", "kill", "user", "shop");
  }, ROTATE_MS);
  try {
    assert.equal(await (await app.sendTask("t.add", { args: [1, 1] })).get({ timeout: 120 }), 2);
    const gaps: number[] = [];
    let lastMs = performance.now();
    const results: Promise<unknown>[] = [];
    for (let from = 0; from < TASKS; from += BATCH) {
      const sent = await Promise.all(
        Array.from({ length: BATCH }, (_, n) => app.sendTask("t.add", { args: [from + n, 1] })),
      );
      for (const result of sent) {
        results.push(
          result.get({ timeout: 120 }).then((value) => {
            const nowMs = performance.now();
            gaps.push(nowMs - lastMs);
            lastMs = nowMs;
            return value;
          }),
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const values = await Promise.all(results);
    values.forEach((value, n) => assert.equal(value, n + 1));
    assert.ok(number >= 3, `the password changed ${number} times`);
    const longest = Math.max(...gaps);
    assert.ok(longest < GAP_MAX_MS, `nothing came for ${longest} ms`);
    assert.doesNotMatch(worker.text, /pass-\d/);
    if (Deno.env.get("SHOW")) console.log("changes", number, "longest gap", longest);
  } catch (error) {
    throw new Error(`${error}\n${worker.text.slice(-3000)}`, { cause: error });
  } finally {
    clearInterval(rotation);
    await app.close();
    await worker.stop();
    await Deno.remove(folder, { recursive: true });
  }
});
