/** A worker that is killed leaves no child behind, not even one in an endless loop. */

import assert from "node:assert/strict";
import { filePath } from "../../lib/base/mod.ts";
import { eventually } from "../support/ports.ts";
import { isRunning } from "../support/pools.ts";

Deno.test("processes: a child in an endless loop ends with its worker", async () => {
  const folder = Deno.makeTempDirSync();
  Deno.writeTextFileSync(
    `${folder}/tasks.js`,
    `export const busy = (self) => {
      self.host.onState(self.seq, "BEGUN", "");
      setTimeout(() => { for (;;); });
      return new Promise(() => {});
    };`,
  );
  const parent = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "-q",
      "--no-check",
      filePath(new URL("../support/plain_parent.ts", import.meta.url)),
      folder,
    ],
    stdout: "piped",
  }).spawn();
  let child = 0;
  try {
    const reader = parent.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes("\n")) text += (await reader.read()).value;
    child = Number(text);
    assert.ok(Deno.statSync(`/proc/${child}`).isDirectory);
    parent.kill("SIGKILL");
    await parent.status;
    await reader.cancel();
    await eventually(() => !isRunning(child), `the child ${child} is gone`);
  } finally {
    if (child !== 0 && isRunning(child)) Deno.kill(child, "SIGKILL");
    Deno.removeSync(folder, { recursive: true });
  }
});
