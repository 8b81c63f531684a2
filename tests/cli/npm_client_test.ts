/**
 * The npm package as its users have it: the tarball installed into an empty folder, and programs of Node; what other
 * runtimes do with it is in npm_runtimes_test.ts.
 */

import assert from "node:assert/strict";
import { build, stop } from "esbuild";
import { filePath } from "../../lib/base/mod.ts";
import { LOADED_BYTES_MAX } from "../../.ci/npm_client.ts";
import { makeSigner } from "../support/certificates.ts";
import { installedPackage } from "../support/npm_package.ts";
import { answers, eventually, freePort } from "../support/ports.ts";
import { Program, startWorker } from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";
import { runProgram } from "../support/run.ts";

const root = filePath(new URL("../../deno.json", import.meta.url));
const { folder, made } = await installedPackage();

const APP = `import { App, chain, chord, Cluster, group, TestWorker } from "lovage";
const app = new App("shop", { broker_url: process.env.BROKER, result_backend: process.env.BACKEND });
const add = app.task("t.add", (x, y) => x + y);
const show = (value) => console.log(JSON.stringify(value));
`;

const CALLS = `${APP}
show(await (await add.delay(1, 2)).get());
show(await (await app.sendTask("t.add", { args: [2.5, 1], countdown: 0.1 })).get());
show(await (await group(add.s(1, 2), add.s(3, 4)).delay()).get());
show(await (await chain(add.s(1, 2), add.s(10)).delay()).get());
const failed = await app.sendTask("t.fail", { args: ["ValueError", "no such thing"] });
show(await failed.get().catch((error) => [error instanceof Error, error.message]));
const many = await app.sendMany(Array.from({ length: 500 }, (_, i) => ({ task: add, args: [i, 1] })));
let sum = 0;
for (const result of many) sum += await result.get();
show(sum);
const odd = [NaN, -Infinity, -0.5, 9007199254740993n, "9007199254740993", new Date(0)];
console.log(...await (await app.sendTask("t.echo", { args: [odd] })).get());
`;
const ODD = "NaN -Infinity -0.5 9007199254740993n 9007199254740993 1970-01-01T00:00:00.000Z";
const CALLS_GIVE = ["3", "3.5", "[3,7]", "13", `[true,"no such thing"]`, String(500 * 499 / 2 + 500), ODD];

const run = (program: string, args: readonly string[], env = {}) =>
  runProgram([program, ...args], { cwd: folder, env: { NO_COLOR: "1", ...env } });

/** Runs a program of Node to its end, which it must reach by itself: nothing of it may be left open. */
async function node(source: string, env = {}): Promise<string[]> {
  await Deno.writeTextFile(`${folder}/main.mjs`, source);
  const { code, out, err } = await run("node", ["main.mjs"], env);
  assert.equal(code, 0, out + err);
  assert.equal(err, "");
  return out.trimEnd().split("\n");
}

Deno.test("npm: a program of Node calls tasks over TLS, and refuses a certificate that nobody vouches for", async () => {
  const { key, certificate } = await makeSigner(folder, "tls", { subject: "/CN=localhost" });
  const port = String(freePort());
  await using redis = await startRedis({
    args: [
      ...["--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key],
      ...["--tls-auth-clients", "no", "--tls-ca-cert-file", certificate],
    ],
  });
  await using worker = await startWorker({ broker: redis.url(0), backend: redis.url(0) });
  const url = `rediss://localhost:${port}/0`;
  const vouched = `${url}?ssl_cert_reqs=required&ssl_ca_certs=${encodeURIComponent(certificate)}`;
  const said = await node(`${CALLS}await app.close();`, { BROKER: vouched, BACKEND: vouched });
  assert.deepEqual(said, CALLS_GIVE, worker.text);
  const refused = await node(
    `${APP}await add.delay(1, 2).catch((error) => console.log(String(error)));\nawait app.close();`,
    { BROKER: url, BACKEND: url },
  );
  assert.deepEqual(refused, [
    `DialError: Cannot connect to rediss://localhost:${port}: self-signed certificate`,
  ]);
});

Deno.test("npm: the web server of docs/node.md answers with a task's result, and ends when it is told to", async () => {
  await using redis = await startRedis();
  const page = await Deno.readTextFile(new URL("../../docs/node.md", import.meta.url));
  for (const [, name, code] of page.matchAll(/^```[jt]s\n\/\/ (\S+)\n([\s\S]*?)^```$/gm)) {
    await Deno.writeTextFile(`${folder}/${name}`, code!);
  }
  const port = String(freePort());
  const env = { CELERY_BROKER_URL: redis.url(0), CELERY_RESULT_BACKEND: redis.url(1), PORT: port };
  await using worker = await startWorker({ env }, ["-P", "solo"], { app: `${folder}/tasks.ts` });
  await using server = new Program(["node", "web.mjs"], { NO_COLOR: "1", ...env }, folder);
  await eventually(() => answers(Number(port)), () => `an answer: ${server.text}`);
  const response = await fetch(`http://127.0.0.1:${port}/?x=2&y=3`);
  assert.deepEqual([response.status, await response.text()], [200, "5\n"], worker.text + server.text);
  assert.equal(await server.stop(), 0, server.text);
  assert.equal(server.text, "");
});

Deno.test("npm: a program bundled with the library runs from anywhere, as an ES module and as CommonJS", async () => {
  await using redis = await startRedis();
  await using worker = await startWorker({ broker: redis.url(0), backend: redis.url(0) });
  await Deno.writeTextFile(
    `${folder}/whole.mjs`,
    `${APP}add.delay(1, 2).then((sent) => sent.get()).then(show).finally(() => app.close());\n`,
  );
  await using elsewhere = await disposableFolder();
  try {
    for (const [format, name] of [["esm", "whole.mjs"], ["cjs", "whole.cjs"]] as const) {
      await build({
        entryPoints: [`${folder}/whole.mjs`],
        outfile: `${elsewhere.path}/${name}`,
        bundle: true,
        platform: "node",
        format,
        // CommonJS has no import.meta, which esbuild warns of.
        logLevel: "error",
      });
      const place = { BROKER: redis.url(0), BACKEND: redis.url(0) };
      const { code, out, err } = await run("node", [`${elsewhere.path}/${name}`], place);
      assert.deepEqual([code, out, err], [0, "3\n", ""], `${format}: ${worker.text}`);
    }
  } finally {
    await stop();
  }
  // What Next's bundler takes for a file that it has to carry.
  for await (const { name } of Deno.readDir(`${folder}/node_modules/lovage/lib`)) {
    const text = await Deno.readTextFile(`${folder}/node_modules/lovage/lib/${name}`);
    if (name.endsWith(".js")) assert.doesNotMatch(text, /new URL\((?:"\.|`\.|[^()]*import\.meta)/, name);
  }
});

Deno.test("npm: what is not part of the library, or which Node 20 lacks, says so in a line", async () => {
  const said = await node(`${APP}
for (const make of [() => new TestWorker(app), () => TestWorker.start(app), () => new Cluster("fleet")]) {
  try { make(); } catch (error) { console.log(String(error)); }
}
for (const url of ["sqlite:///tmp/no.db", "memory://", ""]) {
  const other = new App("other", url === "" ? {} : { broker_url: url });
  await other.sendTask("t.add").catch((error) => console.log(String(error)));
  await other.close();
}
const other = new App("other", { broker_url: "redis://127.0.0.1:1", result_backend: "sqlite:///tmp/no.db" });
await other.AsyncResult("1").get().catch((error) => console.log(String(error)));
await other.sendTask("t.add").catch((error) => console.log(String(error)));
await other.close();
`);
  const elsewhere = "set broker_url to that of a Redis or RabbitMQ";
  const sqlite = "it needs node:sqlite, which Node has from 22.16 on";
  const memory = "no worker shares this process's memory";
  assert.deepEqual(said, [
    `UsageError: TestWorker is not part of the npm package's library, which sends tasks; "lovage test" runs tests with it`,
    `UsageError: TestWorker is not part of the npm package's library, which sends tasks; "lovage test" runs tests with it`,
    `UsageError: Cluster is not part of the npm package's library, which sends tasks; "lovage run" runs programs with it`,
    `UsageError: Cannot use broker "sqlite:///tmp/no.db": ${sqlite}; ${elsewhere}`,
    `UsageError: Cannot use broker "memory://": ${memory}; ${elsewhere}`,
    `UsageError: Cannot use broker "sqlite://": ${sqlite}; ${elsewhere}`,
    `UsageError: Cannot use result backend "sqlite:///tmp/no.db": ${sqlite}; ` +
    `set result_backend to a Redis, or to rpc:// with RabbitMQ`,
    `DialError: Cannot connect to redis://127.0.0.1:1: connection refused`,
  ]);
});

Deno.test("npm: TypeScript finds the declarations, and infers by them", async () => {
  const config = {
    compilerOptions: {
      ...{ strict: true, noEmit: true, target: "esnext", module: "nodenext", moduleResolution: "nodenext" },
      ...{ lib: ["esnext", "dom"], types: [], skipLibCheck: false },
    },
    files: ["use.ts"],
  };
  await Deno.writeTextFile(`${folder}/tsconfig.json`, JSON.stringify(config));
  const tsc = () =>
    run(Deno.execPath(), ["run", "-A", "--quiet", "--config", root, "npm:typescript@6.0.3/tsc"]);
  const use = `import { App, group } from "lovage";
export const app = new App("shop", { broker_url: "redis://localhost" });
export const add = app.task("shop.add", (x: number, y: number) => x + y);
export const sums: number[] = await (await group(add.s(1, 2), add.s(3, 4)).delay()).get();
`;
  await Deno.writeTextFile(`${folder}/use.ts`, use);
  const good = await tsc();
  assert.equal(good.code, 0, good.out);
  await Deno.writeTextFile(`${folder}/use.ts`, `${use}await add.delay("1", 2);\n`);
  const wrong = await tsc();
  assert.match(
    wrong.out,
    /^use\.ts\(5,17\): error TS2345: .*'string' is not assignable to parameter of type 'number'/,
  );
});

Deno.test("npm: the package needs no other and runs nothing when it is installed", async () => {
  const at = `${folder}/node_modules/lovage`;
  const { dependencies, scripts, engines } = JSON.parse(await Deno.readTextFile(`${at}/package.json`));
  assert.deepEqual([dependencies, scripts], [undefined, undefined]);
  assert.deepEqual(engines, { node: ">=20.16" });
  for (const [use, bytes] of made.loaded) assert.ok(bytes <= LOADED_BYTES_MAX, `${use}: ${bytes} bytes`);
});
