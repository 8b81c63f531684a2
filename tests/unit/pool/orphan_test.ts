/** A worker that is killed leaves no child behind, not even one in an endless loop. */

import assert from "node:assert/strict";

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
    args: ["run", "-A", "-q", "--no-check", new URL("./plain_parent.ts", import.meta.url).pathname, folder],
    stdout: "piped",
  }).spawn();
  let child = 0;
  try {
    const reader = parent.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes("\n")) text += (await reader.read()).value;
    child = Number(text);
    assert(Deno.statSync(`/proc/${child}`).isDirectory);
    parent.kill("SIGKILL");
    await parent.status;
    await reader.cancel();
    const end = performance.now() + 5000;
    while (isThere(child)) {
      assert(performance.now() < end, `the child ${child} lives on`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  } finally {
    if (child !== 0 && isThere(child)) Deno.kill(child, "SIGKILL");
    Deno.removeSync(folder, { recursive: true });
  }
});

function isThere(pid: number): boolean {
  try {
    return !/State:\s+Z/.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}
