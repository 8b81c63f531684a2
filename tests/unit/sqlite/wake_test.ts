import assert from "node:assert/strict";
import { WakeFiles } from "../../../lib/sqlite/mod.ts";
import { eventually } from "../../support/ports.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { disposableFolder } from "../../support/temporary.ts";

Deno.test("WakeFiles: touches reach those who watch the file, also files watched later, until they close", async () => {
  await using place = await disposableFolder();
  const folder = place.path;
  const { clock } = realTestWorld();
  const touched = new Set<string>();
  const reader = new WakeFiles(clock, (path) => void touched.add(path));
  const writer = new WakeFiles(clock, () => assert.fail("the writer watches nothing"));
  const [a, b, c] = ["a", "b", "c"].map((name) => `${folder}/${name}`) as [string, string, string];
  reader.watch([a]);
  reader.watch([a, b]);
  writer.touch(c);
  for (const path of [a, b]) {
    writer.touch(path);
    await eventually(() => touched.has(path), `a touch of ${path}`);
  }
  assert.deepEqual([...touched].sort(), [a, b]);
  reader.close();
  reader.close();
  touched.clear();
  writer.touch(a);
  reader.watch([b]);
  writer.touch(b);
  await eventually(() => touched.has(b), "a touch after watching anew");
  assert.equal(touched.has(a), false);
  reader.close();
});
