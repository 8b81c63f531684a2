import assert from "node:assert/strict";
import { userStack } from "../../../lib/base/mod.ts";

Deno.test("userStack: frames of this program are left out, also where the runtime colours the user's", () => {
  const ours = new URL("../../../lib/app/loader.ts", import.meta.url).href;
  const error = new TypeError("gone");
  for (const [on, off] of [["", ""], ["\x1b[36m", "\x1b[0m"]]) {
    error.stack =
      `TypeError: gone\n    at ${on}file:///srv/tasks.ts${off}:${on}1${off}:${on}8${off}\n    at async load (${ours}:3:4)`;
    assert.equal(userStack(error), "TypeError: gone\n    at file:///srv/tasks.ts:1:8");
  }
});
