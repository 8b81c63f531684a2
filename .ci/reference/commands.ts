/** The pages of commands and of exit statuses, made from the tables of lib/cli. */

import type { CommandFacts, OptionFacts } from "../../lib/cli/command.ts";
import { allFacts } from "../../lib/cli/facts.ts";
import { commandsOf } from "../../lib/mailbox/mod.ts";
import { filePath } from "../../lib/base/mod.ts";
import { code, page, sentence, table } from "./markdown.ts";

/** The pages with more about a command. */
const PAGES: Readonly<Record<string, readonly [title: string, path: string]>> = {
  worker: ["pools", "pools.md"],
  beat: ["periodic tasks", "beat.md"],
  multi: ["a fleet of workers", "fleet.md"],
  run: ["your own programs", "tasks.md#your-own-programs-and-tests"],
  test: ["your own programs", "tasks.md#your-own-programs-and-tests"],
  check: ["types and editors", "types.md"],
  upgrade: ["installing and upgrading", "install.md#upgrading"],
  completions: ["installing and upgrading", "install.md#completions-and-manual-pages"],
  man: ["installing and upgrading", "install.md#completions-and-manual-pages"],
  init: ["types and editors", "types.md"],
  types: ["types and editors", "types.md"],
  dead: ["dead letters", "delivery.md#dead-letters"],
  failed: ["tasks that failed for good", "delivery.md#tasks-that-failed-for-good"],
  events: ["events", "events.md"],
  status: ["remote control", "remote-control.md"],
  inspect: ["remote control", "remote-control.md"],
  control: ["remote control", "remote-control.md"],
  ui: ["the console", "console.md"],
  flower: ["the console", "console.md"],
  metrics: ["metrics of the cluster", "observability.md#metrics-of-the-cluster"],
};

/** docs/reference/commands.md. */
export async function commandsPage(): Promise<string> {
  const [program, ...commands] = await allFacts();
  return page(
    "Commands and options",
    "Options may come before, between or after the arguments; flags may be combined (`-EBc2`); a value is the next word, or follows " +
      "`=`; everything after `--` is an argument. `lovage COMMAND --help` prints the same as this page. " +
      "[Exit statuses](exit-codes.md) and [environment variables](environment.md) have their own pages.",
    `## Options of every command\n\n${optionTable(program!.options)}`,
    ...commands.map(section),
  );
}

function section({ name, summary, usage, text, arguments: args, options }: CommandFacts): string {
  const more = PAGES[name];
  const own = options.filter(({ isGlobal }) => !isGlobal);
  return [
    `## ${name}`,
    `${sentence(summary)}${more === undefined ? "" : ` More: [${more[0]}](../${more[1]}).`}`,
    `\`\`\`text\nlovage ${name} ${usage}\n\`\`\``,
    args.length === 0 ? "" : table(["argument", ""], args.map((one) => [code(one.name), one.help])),
    own.length === 0 ? "" : optionTable(own),
    text === undefined ? "" : `\`\`\`text\n${text.trim()}\n\`\`\``,
    name === "inspect" || name === "control" ? remoteTable(name) : "",
  ].map((part) => part.trimEnd()).filter(Boolean).join("\n\n");
}

function optionTable(options: readonly OptionFacts[]): string {
  return table(
    ["option", "what it does"],
    options.map(({ long, short, aliases = [], value, help }) => {
      const spellings = [...short === undefined ? [] : [short], long, ...aliases].map(code).join(", ");
      return [value === undefined ? spellings : `${spellings} ${code(`<${value}>`)}`, help];
    }),
  );
}

function remoteTable(kind: "inspect" | "control"): string {
  return table(
    [`lovage ${kind}`, "what it does"],
    commandsOf(kind).sort((a, b) => a.name < b.name ? -1 : 1).map(({ name, signature, help, alias }) => [
      code(`${name} ${signature}`.trim()),
      sentence(help) + (alias === null ? "" : ` Also ${code(alias)}.`),
    ]),
  );
}

/** docs/reference/exit-codes.md: the comments of lib/platform/exit_codes.ts. */
export function exitCodesPage(): string {
  const source = Deno.readTextFileSync(
    filePath(new URL("../../lib/platform/exit_codes.ts", import.meta.url)),
  );
  const body = /export const EXIT = \{([\s\S]*?)^\}/m.exec(source)![1]!;
  const rows = [...body.matchAll(/\/\*\*([\s\S]*?)\*\/\s*\w+: (\d+)/g)].map(([, comment, status]) => [
    code(status!),
    comment!.replaceAll(/^\s*\*/gm, "").replaceAll(/\s+/g, " ").trim(),
  ]);
  if (rows.length !== (body.match(/: \d+/g) ?? []).length) throw new Error("An exit status has no comment");
  return page(
    "Exit statuses",
    "The same for every command; numbers from 64 on are those of `sysexits`, as Celery has them.",
    table(["status", "meaning"], [
      ...rows,
      [
        "`128 + n`",
        "Ended by signal n: 130 by INT (Ctrl-C), 137 by KILL, 143 by TERM. A worker that stops in order after TERM ends with 0.",
      ],
    ]),
    "`run`, `test` and `check` end with the status of the program, the tests or the compiler. What each status says of a command: " +
      "[remote control](../remote-control.md), [`lovage multi`](../fleet.md).",
  );
}
