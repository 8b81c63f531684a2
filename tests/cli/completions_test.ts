/** Completions in the shells themselves, manual pages as man reads them, and what the program says that it is. */

import assert from "node:assert/strict";
import { makeMan } from "../../.ci/man.ts";
import { VERSION } from "../../lib/base/mod.ts";
import { lovage } from "../support/programs.ts";
import { disposableFolder } from "../support/temporary.ts";
import { runProgram } from "../support/run.ts";

/** A line as far as it was typed, the last word being completed, and what is offered for it. */
const CASES: readonly (readonly [line: string, offered: readonly string[]])[] = [
  ["lovage wor", ["worker"]],
  ["lovage -A tasks.ts -b redis://x completi", ["completions"]],
  ["lovage worker --conc", ["--concurrency"]],
  ["lovage -A tasks.ts worker --log-format ", ["json", "text"]],
  ["lovage -A tasks.ts worker -P thr", ["threads"]],
  ["lovage inspect active_q", ["active_queues"]],
  ["lovage -C dead ", ["drop", "list", "retry", "show"]],
  ["lovage completions ", ["bash", "fish", "zsh"]],
];

async function run(program: string, args: readonly string[]): Promise<string> {
  const { out, err } = await runProgram([program, ...args], { clearEnv: true });
  assert.equal(err, "");
  return out;
}

function isInstalled(program: string): boolean {
  return Deno.env.get("PATH")!.split(":").some((folder) => {
    try {
      return Deno.statSync(`${folder}/${program}`).isFile;
    } catch {
      return false;
    }
  });
}

/** Writes a shell's script into a folder; its path. */
async function script(shell: string, path: string): Promise<string> {
  const { code, out, err } = await lovage(["completions", shell]);
  assert.equal(code, 0, err);
  await Deno.writeTextFile(path, out);
  return path;
}

Deno.test("completions: bash offers commands, options and their values", async () => {
  await using folder = await disposableFolder();
  const path = await script("bash", `${folder.path}/lovage`);
  const cases: typeof CASES = [
    ...CASES,
    // As bash splits it.
    ["lovage worker --log-format = j", ["json"]],
    ["lovage worker -c ", []],
    [`lovage -A ${path.slice(0, -2)}`, [path]],
  ];
  const tries = cases.map(([line]) => {
    const words = line.split(" ").map((word) => `'${word}'`).join(" ");
    return `COMP_WORDS=(${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _lovage; echo "\${COMPREPLY[*]}"`;
  });
  // `compopt` is at home only where the key was pressed.
  const said = await run("bash", ["-c", `set -u; compopt() { :; }; . '${path}'\n${tries.join("\n")}`]);
  assert.deepEqual(
    said.split("\n").slice(0, -1).map((line) => line.split(" ").filter(Boolean).sort()),
    cases.map(([, offered]) => [...offered]),
  );
  assert.match(await run("bash", ["-c", `. '${path}'; complete -p lovage`]), /-F _lovage lovage/);
});

Deno.test({
  name: "completions: fish offers the same",
  ignore: !isInstalled("fish"),
  fn: async () => {
    await using folder = await disposableFolder();
    const path = await script("fish", `${folder.path}/lovage.fish`);
    const tries = CASES.map(([line]) => `complete -C '${line}'; echo`);
    const said = await run("fish", ["--no-config", "-c", `source '${path}'; ${tries.join("; ")}`]);
    const offered = said.split("\n\n").slice(0, -1).map((part) =>
      part.split("\n").map((line) => line.split("\t")[0]!).sort()
    );
    assert.deepEqual(offered, CASES.map(([, offered]) => [...offered]));
  },
});

Deno.test({
  name: "completions: zsh offers the same at a terminal",
  ignore: !isInstalled("zsh"),
  fn: async () => {
    await using folder = await disposableFolder();
    await script("zsh", `${folder.path}/_lovage`);
    const tries = CASES.filter(([, offered]) => offered.length === 1).map(([line, [word]]) => {
      const rest = word!.slice(line.slice(line.lastIndexOf(" ") + 1).length);
      return `zpty -w -n z $'${line}\\t'; zpty -r -m z seen '*${word}*'; echo ${rest}; zpty -w -n z $'\\C-u'`;
    });
    const said = await run("zsh", [
      "-f",
      "-c",
      `zmodload zsh/zpty; zpty z 'zsh -f -i'; fpath=('${folder.path}' $fpath)
zpty -w z "PS1=; fpath=('${folder.path}' \\$fpath); autoload -Uz compinit; compinit -u -d '${folder.path}/dump'; echo REA''DY"
zpty -r -m z seen '*READY*'
${tries.join("\n")}
zpty -d z`,
    ]);
    assert.equal(said.split("\n").length - 1, tries.length);
  },
});

Deno.test("completions: a shell that is not known is refused", async () => {
  const { code, err } = await lovage(["completions", "tcsh"]);
  assert.deepEqual([code, err], [
    64,
    `Error: Cannot complete for "tcsh": it must be one of bash, zsh, fish\n`,
  ]);
});

Deno.test("man: a page of each command, without a fault in its markup", async () => {
  await using folder = await disposableFolder();
  for (const name of await makeMan(folder.path)) {
    assert.match(await Deno.readTextFile(`${folder.path}/${name}`), /^\.SH NAME\n\S+ \\- .+$/m, name);
    if (!isInstalled("mandoc")) continue;
    assert.equal(await run("mandoc", ["-T", "lint", "-W", "warning", `${folder.path}/${name}`]), "");
  }
  const { out } = await lovage(["man", "worker"]);
  assert.match(out, /^\.TH LOVAGE-WORKER 1 "" "Lovage \d/m);
  assert.match(out, /\\fB\\-c\\fR, \\fB\\-\\-concurrency\\fR \\fIn\\fR\nTasks at a time/);
  assert.match(out, /\\fBCELERY_WORKER_CONCURRENCY\\fR/);
  assert.match((await lovage(["man"])).out, /^\.BR lovage\\-worker \(1\)$/m);
  assert.match((await lovage(["man", "workr"])).err, /did you mean "worker"\?/);
});

Deno.test("version: the same line as --version, and JSON that says what runs", async () => {
  const [option, command, json] = [
    await lovage(["--version"]),
    await lovage(["version"]),
    await lovage(["version", "--json"]),
  ];
  assert.deepEqual([command.code, command.out], [0, option.out]);
  const facts = JSON.parse(json.out);
  assert.equal(facts.version, VERSION);
  assert.match(facts.form, /^(source|packed|compiled)$/);
  assert.match(`${facts.platform} ${facts.deno} ${facts.v8}`, /^\w+-\w+ \d+\.\d+\.\d+ \d+\./);
});
