/** The program from npm: the tarballs installed into an empty folder, then `npx lovage`, a worker and a call. */

import assert from "node:assert/strict";
import { makeNpm } from "../../.ci/npm.ts";
import { makeProgramPackage } from "../../.ci/npm_program.ts";
import { packFolder } from "../../.ci/pack.ts";
import { readStub, thisPlatform } from "../../.ci/program.ts";
import { VERSION } from "../../lib/base/mod.ts";
import { stagedForTests } from "../support/packed.ts";
import { Program } from "../support/programs.ts";
import { temporaryFolder } from "../support/temporary.ts";
import { runProgram } from "../support/run.ts";

const folder = temporaryFolder();
const env = {
  PATH: Deno.env.get("PATH")!,
  HOME: folder,
  LOVAGE_HOME: `${folder}/state`,
  NO_COLOR: "1",
};

const run = (program: string, args: readonly string[]) =>
  runProgram([program, ...args], { cwd: folder, env, clearEnv: true });

const INSTALL = ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"];

Deno.test("npm: without the platform's package the library is there, and npx lovage says what is missing", async () => {
  await Deno.writeTextFile(`${folder}/package.json`, `{ "private": true, "type": "module" }`);
  const { path } = await makeNpm(`${folder}/made`);
  const installed = await run("npm", [...INSTALL, path]);
  assert.equal(installed.code, 0, installed.err);
  const { code, err } = await run("npx", ["--offline", "lovage", "--version"]);
  assert.equal(code, 1);
  assert.match(err, /^Error: Cannot find the program: the package @lovage\/\w+-\w+ is not installed; /);
});

Deno.test("npm: npx lovage runs the program: a worker, a call, signals and exit statuses", async () => {
  {
    await using staged = await stagedForTests();
    const program = `${folder}/program`;
    await packFolder(staged.folder, { stub: await readStub(), target: program });
    const made = { platform: thisPlatform(), program, licenses: "licences\n" };
    const path = await makeProgramPackage(`${folder}/made`, made);
    const installed = await run("npm", [...INSTALL, path]);
    assert.equal(installed.code, 0, installed.err);
  }
  const version = await run("npx", ["--offline", "lovage", "--version"]);
  assert.deepEqual([version.code, version.out], [0, `${VERSION} (lovage)\n`], version.err);
  assert.equal((await run("npx", ["--offline", "lovage", "wrker"])).code, 64);
  const begun = await run("npx", ["--offline", "lovage", "init", "project"]);
  assert.equal(begun.code, 0, begun.err);
  const launcher = `${folder}/node_modules/.bin/lovage`;
  const tasks = `${folder}/project/tasks.ts`;
  await using worker = new Program([launcher, "-A", tasks, "worker", "-c", "1", "-l", "INFO"], env, folder);
  await worker.says(/ ready\./);
  const sum = await run(launcher, ["-A", tasks, "call", "--wait", "tasks.add", "-a", "[2, 3]"]);
  assert.equal(sum.out, "5\n", sum.err + worker.text);
  assert.equal(await worker.stop(), 0, worker.text);
  assert.match(worker.text, /Warm shutdown/);
  const upgrade = await run(launcher, ["upgrade"]);
  assert.equal(upgrade.code, 64);
});
