/** Tasks that are commands, in every pool: their results, and that limits end every process they started. */

import assert from "node:assert/strict";
import { eventually } from "../support/ports.ts";
import { runTasks } from "../support/pool_tasks.ts";
import { disposableFolder, exists } from "../support/temporary.ts";
import { isRunning, resultOf } from "../support/pools.ts";

const MANIFEST = `
[settings]
broker_url = "memory://"
result_backend = "memory://"
[tasks."cmd.words"]
argv = ["printf", "%s|", "{0}", "$HOME; rm -rf {1}", "{{x}}"]
[tasks."cmd.input"]
argv = ["cat"]
[tasks."cmd.fails"]
argv = ["sh", "-c", "echo out; echo why >&2; exit 3"]
[tasks."cmd.missing"]
argv = ["/no/such/program"]
[tasks."cmd.family"]
argv = ["sh", "-c", "sleep 300 & echo $! > $0; sleep 300 & echo $! >> $0; wait", "{0}"]
[tasks."cmd.left"]
argv = ["sh", "-c", "sleep 300 & echo $! > $0", "{0}"]
[tasks."cmd.stubborn"]
argv = ["sh", "-c", "trap '' TERM; echo $$ > $0; while :; do sleep 1; done", "{0}"]
`;

const FILES = ["soft", "hard", "stubborn", "left"];

/** Returns the pids that the commands have written: two of each family, one each of the others. */
function pidsIn(folder: string): number[] {
  return FILES.map((file) => `${folder}/${file}`).filter(exists)
    .flatMap((path) => Deno.readTextFileSync(path).split("\n").filter(Boolean).map(Number));
}

for (const name of ["processes", "threads", "async", "solo"]) {
  Deno.test(`commands in ${name}: arguments without a shell, input, results, failures`, async () => {
    await using place = await disposableFolder();
    const folder = place.path;
    Deno.writeTextFileSync(`${folder}/tasks.toml`, MANIFEST);
    const { ended } = await runTasks(
      name,
      folder,
      [
        { task: "cmd.words", args: ["a b", "$(date)"] },
        { task: "cmd.input", args: [1, { two: [3] }, 2n ** 70n] },
        { task: "cmd.fails", args: [] },
        { task: "cmd.missing", args: [] },
        { task: "cmd.words", args: [1] },
      ],
      {},
      "tasks.toml",
    );
    assert.equal(resultOf(ended[0]!), "a b|$HOME; rm -rf $(date)|{x}|");
    const input = resultOf(ended[1]!) as { id: string; task: string; args: unknown[] };
    assert.deepEqual([input.id, input.task], ["id-1", "cmd.input"]);
    assert.deepEqual(input.args.slice(0, 2), [1, { two: [3] }]);
    // Large integers keep every digit, in and out.
    assert.match(String(ended[1]!.document), /"args":\[1,\{"two":\[3\]\},1180591620717411303424\]/);
    assert.equal(ended[2]!.exception, "CommandFailed('sh exited with status 3: why')");
    assert.match(ended[3]!.exception, /^CommandFailed\('Cannot start "\/no\/such\/program": /);
    assert.match(ended[4]!.exception, /^TypeError\(.*missing 1 required argument: '1'/);
  });

  Deno.test(`commands in ${name}: a limit ends the whole group, also a stubborn one`, async () => {
    await using place = await disposableFolder();
    const folder = place.path;
    Deno.writeTextFileSync(`${folder}/tasks.toml`, MANIFEST);
    // On a busy machine half a second may be too short for a command to start all its processes; then it gets
    // more.
    let pids: number[] = [];
    for (let seconds = 0.5; pids.length < 6 && seconds <= 32; seconds *= 2) {
      for (const file of FILES) {
        if (exists(`${folder}/${file}`)) Deno.removeSync(`${folder}/${file}`);
      }
      const { ended } = await runTasks(
        name,
        folder,
        [
          { task: "cmd.family", args: [`${folder}/soft`], softTimeLimit: seconds },
          { task: "cmd.family", args: [`${folder}/hard`], timeLimit: seconds },
          { task: "cmd.stubborn", args: [`${folder}/stubborn`], timeLimit: seconds },
          { task: "cmd.left", args: [`${folder}/left`], timeLimit: seconds },
        ],
        {},
        "tasks.toml",
      );
      assert.equal(ended[0]!.exception, "SoftTimeLimitExceeded()");
      assert.equal(ended[1]!.kind, "timeout");
      assert.equal(ended[2]!.kind, "timeout");
      assert.equal(ended[3]!.kind, "timeout", "a background process holds the command's output");
      pids = pidsIn(folder);
      await eventually(() => !pids.some(isRunning), () => `still there: ${pids.filter(isRunning)}`);
    }
    assert.equal(pids.length, 6);
  });
}
