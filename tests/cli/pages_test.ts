/**
 * Pages that a newcomer follows, walked as they stand in an empty folder: blocks with a name ("// tasks.ts") are written
 * as that file, blocks for the shell are typed line by line, and what "# prints" says must be what is printed last.
 */

import assert from "node:assert/strict";
import { LOVAGE, REPLIES } from "../support/programs.ts";
import { runProgram } from "../support/run.ts";
import { requirePython, startRedis } from "../support/servers.ts";
import { PATIENCE_MS } from "../support/ports.ts";
import { filePath } from "../../lib/base/mod.ts";

const root = filePath(new URL("../..", import.meta.url));
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** `prints LINE COMMAND`: fails unless LINE is the last line that COMMAND prints. */
const HEAD = `trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
prints() {
  said=$(eval "$2") || echo "status $?"
  [ "$(echo "$said" | tail -n 1)" = "$1" ] || { echo "$2 printed: $said, not $1" >&2; exit 1; }
}
`;
/** What is not for an empty folder: making and installing the program. */
const NOT_HERE = /install\.sh|^export PATH=|^make /;
/** Runs until somebody ends it. */
const IN_FRONT = / worker(?!.*&$)/;

/** A page as a script for bash. */
function scriptOf(page: string, redisPort: number): string {
  const text = Deno.readTextFileSync(root + page).replaceAll("localhost:6379", `127.0.0.1:${redisPort}`)
    .replaceAll(/\btimeout(: |=)\d{2}\b/g, `timeout$1${PATIENCE_MS / 1000}`);
  const steps: string[] = [HEAD];
  for (const [, language, block] of text.matchAll(/^```(\w+)\n([^]*?)^```$/gm)) {
    const name = /^(?:\/\/|#) (\S+\.\w+)\n/.exec(block!)?.[1];
    if (name !== undefined) {
      const code = block!.slice(block!.indexOf("\n") + 1);
      // One that the program has written begins as the page shows.
      const isSame = `[ "$(head -c ${new TextEncoder().encode(code).length} ${name})" = "$(cat .page)" ]`;
      steps.push(`cat >.page <<'THE END'\n${code}THE END`);
      steps.push(
        `if [ -e ${name} ]; then ${isSame} || { echo "${name} is not as shown"; exit 1; }; else mv .page ${name}; fi`,
      );
    } else if (language === "sh") {
      for (const line of block!.trimEnd().split("\n")) {
        const [command, comment = ""] = line.split(/ +# /) as [string, string?];
        if (NOT_HERE.test(command) || IN_FRONT.test(command)) continue;
        const printed = /^prints (.*)/.exec(comment)?.[1];
        steps.push(printed === undefined ? command : `prints ${quoted(printed)} ${quoted(command)}`);
      }
    }
  }
  return steps.join("\n");
}

for (
  const page of [
    "README.md",
    "docs/quick-start.md",
    "docs/sending.md",
    "docs/from-bullmq.md",
    "docs/beside-python.md",
  ]
) {
  Deno.test(`pages: ${page} is as it says`, async () => {
    await requirePython();
    await using redis = await startRedis();
    const base = await Deno.makeTempDir({ prefix: "lovage-pages-" });
    try {
      const [bin, work] = [`${base}/bin`, `${base}/work`];
      for (const folder of [bin, work]) await Deno.mkdir(folder);
      await Deno.writeTextFile(`${bin}/lovage`, `#!/bin/sh\nexec ${LOVAGE.map(quoted).join(" ")} "$@"\n`, {
        mode: 0o755,
      });
      await Deno.symlink("/usr/bin/python3", `${bin}/python3`);
      const { code, out, err } = await runProgram(["bash", "-ec", scriptOf(page, redis.port)], {
        cwd: work,
        env: {
          ...REPLIES,
          PATH: `${bin}:${Deno.env.get("PATH")}`,
          LOVAGE_HOME: `${base}/state`,
          NO_COLOR: "1",
          CELERY_BROKER_URL: "",
          CELERY_RESULT_BACKEND: "",
        },
      });
      assert.equal(code, 0, `${out}\n${err}`);
    } finally {
      await Deno.remove(base, { recursive: true });
    }
  });
}
