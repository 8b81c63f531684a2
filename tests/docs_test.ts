/**
 * The documents: every TypeScript block type-checks, every command in a shell block exists, every link leads somewhere,
 * every test that a page names is there; the reference is as the program's tables would have it now, messages are those
 * of the source, and the site's navigation has every page.
 */

import assert from "node:assert/strict";
import { referencePages } from "../.ci/reference/mod.ts";
import { EVENTS, VARIABLES } from "../.ci/reference/runtime.ts";
import { sidebarOf, sitePages } from "../.ci/docs.ts";
import { optionWithoutValue } from "../lib/cli/multi.ts";
import { readWords } from "../lib/cli/reader.ts";
import { COMMANDS } from "../lib/cli/table.ts";
import { filePath, fileUrl } from "../lib/base/mod.ts";
import { mustRun } from "./support/run.ts";

const ROOT = filePath(new URL("..", import.meta.url));
const PAGES = [
  "",
  "docs/",
  "docs/decisions/",
  "docs/reference/",
  "docs/site/",
].flatMap(pagesIn);

/** The pages of a folder; its name ends with a slash. */
function pagesIn(folder: string): string[] {
  return [...Deno.readDirSync(ROOT + folder)].map(({ name }) => folder + name)
    .filter((path) => path.endsWith(".md")).sort();
}

/** The fenced blocks of a page in one language. */
function blocks(page: string, language: string): string[] {
  const text = Deno.readTextFileSync(ROOT + page);
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((found) =>
    found[1]!
  );
}

const TASKS_MODULE = `import { App } from "lovage";
export const app = new App("shop");
export const add = app.task("shop.add", (x: number, y: number) => x + y);
export const sum = app.task("shop.sum", (numbers: number[]) => numbers.reduce((a, b) => a + b, 0));
export const resize = app.task("shop.resize", (path: string) => path);
`;

Deno.test("docs: every TypeScript block type-checks", async () => {
  const folder = await Deno.makeTempDir({ dir: `${ROOT}tests`, prefix: ".docs-" });
  try {
    for (const page of PAGES) {
      const own = `${folder}/${page.replaceAll("/", "-")}`;
      await Deno.mkdir(own);
      // The examples of the library's comments import the tasks of one module.
      if (page === "docs/reference/api.md") await Deno.writeTextFile(`${own}/tasks.ts`, TASKS_MODULE);
      for (const [n, code] of blocks(page, "ts").entries()) {
        // Blocks with a name may import each other.
        const name = /^\/\/ (\S+\.ts)\n/.exec(code)?.[1] ?? `block-${n}.ts`;
        await Deno.writeTextFile(`${own}/${name}`, code, { createNew: true });
      }
    }
    const check = [Deno.execPath(), "check", "--quiet", "--config", `${ROOT}deno.json`, folder];
    await mustRun(check, { env: { NO_COLOR: "1" } });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** The lines of a page's blocks for a shell, without comments. */
function shellLines(page: string): string[] {
  return ["sh", "console"].flatMap((language) => blocks(page, language)).join("\n").split("\n")
    .map((line) => line.replace(/(^| +)#.*$/, ""));
}

/** The command lines of a page, in its blocks and in the running text: the words behind `lovage`. */
function commandLines(page: string): string[][] {
  const text = Deno.readTextFileSync(ROOT + page);
  const quoted = [...text.matchAll(/`lovage ([^`]+)`/g)].map(([, line]) => line!);
  const shown = shellLines(page).flatMap((line) => line.split(/[|;&>]/))
    .map((one) => /(?:^|[ =$])lovage (.*)$/.exec(one)?.[1] ?? "");
  return [...quoted, ...shown]
    // Lists of alternatives, and what may be left out, are no command lines.
    .filter((line) => line !== "" && !/[|…]|\[[A-Z-]|\b[a-z]+, /.test(line.replace(/'[^']*'/g, "")))
    .map((line) =>
      [...line.matchAll(/'[^']*'|"[^"]*"|\S+/g)].map(([word]) => word.replace(/^(['"])(.*)\1$/, "$2"))
    );
}

Deno.test("docs: a command can be copied: it stands in a block, and what is said of it is a comment", () => {
  const wrong: string[] = [];
  for (const page of PAGES) {
    const indented = Deno.readTextFileSync(ROOT + page).match(
      /^ {4}(?:sudo )?(?:lovage|make|systemctl) .*$/gm,
    );
    const spoken = shellLines(page).filter((line) => /(^|\$ |sudo )lovage .*\S {2,}\S/.test(line));
    wrong.push(...[...indented ?? [], ...spoken].map((line) => `${page}: ${line}`));
  }
  assert.deepEqual(wrong, []);
});

Deno.test("docs: command lines name commands and options that there are", async () => {
  const withValue = /^(-A|--app|-b|--broker|--result-backend|--config|--workdir|--log-format)$/;
  const wrong: string[] = [];
  let lines = 0;
  for (const page of PAGES.filter((one) => !one.startsWith("docs/reference/"))) {
    for (const words of commandLines(page)) {
      const at = words.findIndex((word, n) => !word.startsWith("-") && !withValue.test(words[n - 1] ?? ""));
      const entry = COMMANDS.find(({ name }) => name === words[at]);
      const line = `${page}: lovage ${words.join(" ")}`;
      if (entry === undefined) {
        if (/^[a-z]+$/.test(words[at] ?? "")) wrong.push(`${line}: no such command`);
        continue;
      }
      lines++;
      const others = words.toSpliced(at, 1);
      try {
        const command = await entry.load();
        const bare = entry.name === "multi" ? await optionWithoutValue(others) : null;
        if (bare !== null) wrong.push(`${line}: ${bare} has its value behind "="`);
        if (!command.isRaw) readWords(entry.name, { command, words: others });
      } catch (error) {
        const { message } = error as Error;
        if (message.startsWith("Unknown option")) wrong.push(`${line}: ${message}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(lines > 100, `only ${lines} found`);
});

Deno.test("docs: make lists its targets, pages name no other, and one seed of the simulation shows its trace", async () => {
  const listed = (await mustRun(["make"], { cwd: ROOT })).match(/^ {2}[a-z-]+/gm)!.map((name) => name.trim());
  const [, phony] = /^\.PHONY: (.*)$/m.exec(Deno.readTextFileSync(`${ROOT}Makefile`))!;
  assert.deepEqual(listed.toSorted(), phony!.split(" ").toSorted());
  const named = PAGES.flatMap((page) => [...Deno.readTextFileSync(ROOT + page).matchAll(/`make ([a-z-]+)/g)]);
  assert.deepEqual(named.filter(([, target]) => !listed.includes(target!)), []);
  assert.match(await mustRun(["make", "sim", "SEED=17"], { cwd: ROOT }), /^\d+\.\d{4} /m);
});

Deno.test("docs: tables are whole: a head, a line below it, and rows of as many cells", () => {
  const wrong: string[] = [];
  for (const page of PAGES) {
    const text = Deno.readTextFileSync(ROOT + page).replaceAll(/^```[^]*?^```$/gm, "");
    for (const [table] of text.matchAll(/(?:^\|.*(?:\n|$))+/gm)) {
      const rows = table.trimEnd().split("\n");
      const cells = rows.map((row) => row.replaceAll(/\\\||`[^`]*`/g, "").split("|").length);
      const isWhole = /^\|(?: *:?-+:? *\|)+$/.test(rows[1] ?? "") &&
        cells.every((count) => count === cells[0]);
      if (!isWhole) wrong.push(`${page}: ${rows.find((_, n) => cells[n] !== cells[0]) ?? rows[0]}`);
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
        Deno.statSync(new URL(target!, fileUrl(ROOT + page)));
      } catch {
        wrong.push(`${page}: ${target}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("docs: files of this repository that pages name are there", () => {
  const wrong: string[] = [];
  for (const page of PAGES) {
    const text = Deno.readTextFileSync(ROOT + page).replace(/\]\([^)]*\)/g, "]");
    for (const [path] of text.matchAll(/(?<![\w./~$-])(?:lib|tests|bench|examples|docs)\/[\w./-]*\w/g)) {
      try {
        Deno.statSync(ROOT + path);
      } catch {
        wrong.push(`${page}: ${path}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("docs: tests that hold a sentence of docs/security.md are there", () => {
  const text = Deno.readTextFileSync(`${ROOT}docs/security.md`);
  const tests = new Map(testFiles("tests").map((path) => [path, testNames(path)]));
  const wrong: string[] = [];
  let rows = 0;
  for (const [table] of text.matchAll(/^\| it holds \| test \|\n(?:\|.*\n)+/gm)) {
    for (const row of table.split("\n").slice(2).filter(Boolean)) {
      rows++;
      const named = [...row.split(" | ").at(-1)!.matchAll(/`([\w/]+\.ts)`: ([^;|]+?)(?:;| \|$)/g)];
      if (named.length === 0) wrong.push(`no test: ${row}`);
      for (const [, file, name] of named) {
        const isThere = tests.entries().some(([path, names]) =>
          path.endsWith(`/${file}`) && names.includes(name!)
        );
        if (!isThere) wrong.push(`${file}: ${name}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(rows > 40);
});

Deno.test("docs: docs/reference is as make reference makes it now", async () => {
  const stale: string[] = [];
  for (const [name, text] of await referencePages()) {
    const kept = await Deno.readTextFile(`${ROOT}docs/reference/${name}`).catch(() => "");
    if (kept !== text) stale.push(name);
  }
  assert.deepEqual(stale, [], "make reference writes them");
});

Deno.test("docs: the reference has every event that the source sends, and every variable that it reads", () => {
  const source = testFiles("lib").map((path) => Deno.readTextFileSync(ROOT + path)).join("\n");
  const events = new Set(EVENTS.map(([type]) => type));
  const sent = [
    ...source.matchAll(
      /(?:send|task|message|#failedEvent)\((?:this, )?(?:consumer, |request, )?"((?:task|worker)-[a-z-]+)"/g,
    ),
  ];
  assert.ok(sent.length > 12, `only ${sent.length} found`);
  assert.deepEqual(sent.map(([, type]) => type!).filter((type) => !events.has(type)), []);
  assert.deepEqual([...events].filter((type) => !source.includes(`"${type}"`)), []);

  const variables = new Set(VARIABLES.flatMap(([, rows]) => rows.map(([name]) => name)));
  const read = new Set(
    [...source.replaceAll(/\/\*\*[^]*?\*\//g, "").matchAll(/\benv(?:\.get)?\("([A-Z_0-9]+)"/g)].map((
      [, name],
    ) => name!),
  );
  assert.ok(read.size > 15, `only ${read.size} found`);
  // The program's own processes tell each other by these.
  for (const name of ["LOVAGE_SELF", "LOVAGE_PROJECT", "LOVAGE_POOL_TOKEN", "LOVAGE_DAEMON"]) {
    read.delete(name);
  }
  assert.deepEqual([...read].filter((name) => !variables.has(name)), []);
  assert.deepEqual([...variables].filter((name) => !new RegExp(`\\b${name}\\b`).test(source)), []);
});

Deno.test("docs: messages of docs/troubleshooting.md are said by the source", () => {
  const source = [...testFiles("lib").filter((path) => path.endsWith(".ts")), ".ci/dist_stub.sh"]
    .map((path) => Deno.readTextFileSync(ROOT + path)).join("\n");
  // Texts that stand in several pieces in the source, one behind the other.
  const joined = source.replaceAll(/["`] \+\s*["`]/g, "");
  /** In one piece, or with one word or more filled in: "Cannot find task module" is `Cannot find ${what}`. */
  const isSaid = (piece: string): boolean =>
    joined.includes(piece) ||
    [...piece.matchAll(/ /g)].some(({ index }) =>
      joined.includes(`${piece.slice(0, index)} \${`) && joined.includes(piece.slice(index + 1))
    );
  const wrong: string[] = [];
  let messages = 0;
  const text = Deno.readTextFileSync(`${ROOT}docs/troubleshooting.md`);
  for (const [table] of text.matchAll(/^\| message \| what to do \|\n(?:\|.*\n)+/gm)) {
    for (const row of table.split("\n").slice(2).filter(Boolean)) {
      const cell = row.split(" | ")[0]!;
      if (/ words?\)/.test(cell)) continue; // another program's
      for (const [, message] of cell.matchAll(/`([^`]+)`/g)) {
        messages++;
        for (
          const piece of message!.split("…").map((one) => one.replace(/^[\W]+|[\W]+$/g, "")).filter((one) =>
            one.length > 3
          )
        ) {
          if (!isSaid(piece)) wrong.push(`${message}: ${piece}`);
        }
      }
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(messages > 40, `only ${messages} found`);
});

Deno.test("docs: docs/README.md, which is the site's navigation, has every page once", () => {
  const pages = sitePages();
  const items = sidebarOf(Deno.readTextFileSync(`${ROOT}docs/README.md`), pages).flatMap((group) =>
    group.items
  );
  const linked = items.map(({ link }) => link);
  assert.deepEqual(linked.filter((link, n) => linked.indexOf(link) !== n), [], "twice");
  const links = new Set(linked);
  const unlisted = [...pages].filter(([path, page]) =>
    path.startsWith("docs/") && !path.startsWith("docs/decisions/") &&
    !links.has(`/${page.replace(/(index)?\.md$/, "")}`)
  ).map(([path]) => path);
  assert.deepEqual(unlisted, ["docs/README.md", "docs/site/index.md"]);
});

function testFiles(folder: string): string[] {
  return [...Deno.readDirSync(ROOT + folder)].flatMap(({ name, isDirectory }) =>
    isDirectory ? testFiles(`${folder}/${name}`) : name.endsWith(".ts") ? [`${folder}/${name}`] : []
  );
}

/** The names that a file gives its tests and steps, as they stand in its source. */
function testNames(path: string): string {
  const text = Deno.readTextFileSync(ROOT + path);
  return [...text.matchAll(/(?:\btest|\bstep|\bname:)\s*\(?\s*(["`])(.*?)\1/g)].map(([, , name]) => name)
    .join("\n");
}
