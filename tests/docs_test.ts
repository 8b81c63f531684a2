/** The documents' code: every TypeScript block type-checks, every command in a shell block exists, every link leads somewhere. */

import assert from "node:assert/strict";
import { COMMANDS } from "../lib/cli/table.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const PAGES = ["README.md", ...[...Deno.readDirSync(`${ROOT}docs`)].map(({ name }) => `docs/${name}`)];

/** The fenced blocks of a page in one language. */
function blocks(page: string, language: string): string[] {
  const text = Deno.readTextFileSync(ROOT + page);
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((found) =>
    found[1]!
  );
}

Deno.test("docs: every TypeScript block type-checks", async () => {
  const folder = await Deno.makeTempDir({ dir: `${ROOT}tests`, prefix: ".docs-" });
  try {
    for (const page of PAGES) {
      for (const [n, code] of blocks(page, "ts").entries()) {
        await Deno.writeTextFile(`${folder}/${page.replace("/", "-")}-${n}.ts`, code);
      }
    }
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--quiet", "--config", `${ROOT}deno.json`, folder],
      env: { NO_COLOR: "1" },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("docs: commands in shell blocks are commands there are", () => {
  const known = new Set(COMMANDS.map(({ name }) => name));
  const withValue = /^(-A|--app|-b|--broker|--result-backend|--config|--workdir)$/;
  const wrong: string[] = [];
  for (const page of PAGES) {
    for (const line of blocks(page, "sh").flatMap((block) => block.split("\n"))) {
      const words = /(?:^|[|;&(] *)lovage +(.*)$/.exec(line)?.[1]?.split(/ +/) ?? [];
      const name = words.find((word, n) => !word.startsWith("-") && !withValue.test(words[n - 1] ?? ""));
      if (name !== undefined && /^[a-z]/.test(name) && !known.has(name)) wrong.push(`${page}: ${line}`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("docs: links lead to files that are there", () => {
  const wrong: string[] = [];
  for (const page of PAGES) {
    const text = Deno.readTextFileSync(ROOT + page);
    for (const [, target] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      try {
        Deno.statSync(new URL(target!, `file://${ROOT}${page}`));
      } catch {
        wrong.push(`${page}: ${target}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});
