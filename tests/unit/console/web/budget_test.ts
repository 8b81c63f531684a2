/** What a browser loads stays small. */

import assert from "node:assert/strict";
import { makePageFile } from "../../../../lib/platform/mod.ts";

const SCRIPT_MAX = 45_000;
const STYLE_MAX = 10_000;

Deno.test("the console's script has at most 45 KB gzipped, its stylesheet 10 KB", async () => {
  const script = await gzipped(await makePageFile("console.js"));
  assert.ok(script <= SCRIPT_MAX, `${script} bytes of script`);
  const style = await gzipped(await makePageFile("console.css"));
  assert.ok(style <= STYLE_MAX, `${style} bytes of style`);
});

async function gzipped(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(stream).arrayBuffer()).byteLength;
}
