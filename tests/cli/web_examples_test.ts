/**
 * examples/web as a reader starts them: the npm package and each framework installed from npm, a web server that sends
 * tasks, and a worker of the program that runs them.
 */

import assert from "node:assert/strict";
import { filePath } from "../../lib/base/mod.ts";
import { bun, installedPackage } from "../support/npm_package.ts";
import { answers, eventually, freePort } from "../support/ports.ts";
import { Program, startWorker } from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";

const examples = filePath(new URL("../../examples/web", import.meta.url));

Deno.test("web: Express, Fastify, Hono and Next's routes send tasks, wait, and tell what became of them", async (t) => {
  const { folder, run } = await installedPackage(
    ...["express@5.3.0", "fastify@5.12.8", "hono@4.13.19", "@hono/node-server@2.1.9"],
  );
  await using redis = await startRedis();
  const env = { NO_COLOR: "1", CELERY_BROKER_URL: redis.url(0), CELERY_RESULT_BACKEND: redis.url(1) };
  await using worker = await startWorker({ env }, ["-P", "solo"], { app: `${examples}/tasks.ts` });
  await run(["cp", "-r", examples, "web"]);
  const deno = [Deno.execPath(), "run", "-A", "--quiet", "--node-modules-dir=manual"];
  const servers = {
    Express: ["node", "web/express/server.mjs"],
    Fastify: ["node", "web/fastify/server.mjs"],
    "Hono on Node": ["node", "web/hono/node.mjs"],
    "Hono on Bun": [await bun(), "web/hono/bun.mjs"],
    "Hono on Deno": [...deno, "web/hono/deno.mjs"],
  };
  for (const [name, command] of Object.entries(servers)) {
    await t.step(name, async () => {
      const port = freePort();
      await using server = new Program(command, { ...env, PORT: String(port) }, folder);
      await eventually(
        () => server.status !== null || answers(port),
        () => `an answer: ${server.text}`,
      );
      await asked((path, init) => fetch(`http://127.0.0.1:${port}${path}`, init), "/sum", "/reports");
      assert.equal(await server.stop(), 0, server.text + worker.text);
      assert.equal(server.text, "");
    });
  }
  await t.step("Next", async () => {
    await Deno.writeTextFile(`${folder}/routes.ts`, ROUTES);
    const { code, out, err } = await run([await bun(), "routes.ts"], env);
    assert.deepEqual(
      [code, out],
      [0, `{"sum":5}\n202\n{"state":"SUCCESS","result":"March, written"}\n`],
      err,
    );
    const config = filePath(new URL("../../deno.json", import.meta.url));
    const tsc = [Deno.execPath(), "run", "-A", "--quiet", "--config", config, "npm:typescript@6.0.3/tsc"];
    const checked = await run([...tsc, "-p", "web/next"]);
    assert.equal(checked.code, 0, checked.out);
  });
});

/** Calls the handlers as Next does. */
const ROUTES = `import { GET, POST } from "./web/next/app/api/tasks/route.ts";
import { GET as status } from "./web/next/app/api/tasks/[id]/route.ts";
import { app } from "./web/next/app/shop.ts";
const url = "http://localhost/api/tasks";
console.log(await (await GET(new Request(url + "?x=2&y=3"))).text());
const posted = await POST(new Request(url, { method: "POST", body: JSON.stringify({ title: "March" }) }));
console.log(posted.status);
const { id } = await posted.json();
await app.AsyncResult(id).get({ timeout: 30 });
const { state, result } = await (await status(new Request(url), { params: Promise.resolve({ id }) })).json();
console.log(JSON.stringify({ state, result }));
await app.close();
`;

async function asked(
  ask: (path: string, init?: RequestInit) => Promise<Response>,
  sum: string,
  reports: string,
): Promise<void> {
  assert.deepEqual(await (await ask(`${sum}?x=2&y=3`)).json(), { sum: 5 });
  const started = await ask(reports, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ title: "March" }),
  });
  const { id } = await started.json();
  assert.equal(started.status, 202);
  const status = await eventually(
    async () => {
      const shown = await (await ask(`${reports}/${id}`)).json();
      return shown.state === "SUCCESS" ? shown : null;
    },
    "the report",
    { everyMs: 20 },
  );
  assert.deepEqual(status, { id, state: "SUCCESS", result: "March, written" });
}
