/** The shell examples run to their end as they stand. */

import assert from "node:assert/strict";
import { LOVAGE } from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";

const root = new URL("../..", import.meta.url).pathname;

async function run(name: string, env: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: [`${root}examples/${name}`],
    env: {
      LOVAGE: LOVAGE.join(" "),
      NO_COLOR: "1",
      CELERY_BROKER_URL: "",
      CELERY_RESULT_BACKEND: "",
      ...env,
    },
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert.equal(code, 0, `${name}:\n${text}\n${new TextDecoder().decode(stderr)}`);
  return text;
}

Deno.test("examples/ci-smoke.sh: burst, status, ping and call on the embedded broker", async () => {
  const out = await run("ci-smoke.sh");
  assert.match(out, /1 node online\./);
  assert.match(out, /pong/);
  assert.match(out, /\npassed\n$/);
});

Deno.test("examples/fleet.sh: two nodes on the embedded broker, and on Redis", async () => {
  await using redis = await startRedis();
  for (const env of [{}, { BROKER: redis.url() }]) {
    const out = await run("fleet.sh", env);
    assert.match(out, /images@\S+: OK/);
    assert.match(out, /640 pixels/);
    assert.match(out, /Child terminated with exit code 64/);
    assert.match(out, /\npassed\n$/);
  }
});
