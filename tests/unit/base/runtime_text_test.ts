import assert from "node:assert/strict";
import { errorText } from "../../../lib/base/mod.ts";

Deno.test("errorText: the runtime's advice is for its own command line, and is not passed on", () => {
  const cases = [
    [
      'Requires read access to "/etc/passwd", run again with the --allow-read flag',
      `Requires read access to "/etc/passwd": the task's permissions do not name it`,
    ],
    [
      'Import "x" not a dependency and not in import map from "file:///t.ts"\n  hint: If you want to use the npm package, ' +
      "try running `deno add npm:x`\n    at file:///t.ts:1:1",
      'Import "x" is neither in a package.json nor in the imports of a deno.json for "file:///t.ts"\n    at file:///t.ts:1:1',
    ],
    [
      "Could not find a matching package for 'npm:a@1' in the node_modules directory. Ensure you have all your JSR and " +
      "npm dependencies listed in your deno.json or package.json, then run `deno install`. Alternatively, …",
      "Could not find a matching package for 'npm:a@1' in the node_modules directory: install the project's packages with npm",
    ],
    ["a hint of salt", "a hint of salt"],
  ] as const;
  for (const [theirs, ours] of cases) assert.equal(errorText(new Error(theirs)), ours);
});
