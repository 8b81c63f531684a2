/** Makes manual pages in man(7) markup from the tables of options. */

import { VERSION } from "../base/mod.ts";
import { type CommandFacts, type OptionFacts } from "./command.ts";

const EXITS: readonly (readonly [string, string])[] = [
  ["0", "Success."],
  ["1", "The operation failed."],
  ["64", "The command line or a setting is invalid."],
  ["69", "The broker cannot be reached, or no worker answered."],
  ["73", "A file cannot be created, or something else is at its path."],
  ["130, 143", "Ended by a signal: INT, TERM."],
];

const VARIABLES: readonly (readonly [string, string])[] = [
  [
    "LOVAGE_HOME",
    "Folder of the embedded broker and of the options that fleets remember; by default ~/.local/state/lovage.",
  ],
  ["LOVAGE_CACHE", "Folder that the packed program unpacks itself into; by default ~/.cache."],
  ["NO_COLOR", "If it is set, no colours are used."],
];

/** Returns the name of a command's page without its section: "lovage-worker"; the program's is "lovage". */
export function pageName({ name }: Pick<CommandFacts, "name">): string {
  return name === "" ? "lovage" : `lovage-${name}`;
}

/**
 * Returns the text of a page. `all` are the facts of all commands, which the program's page lists; `date`
 * ("2026-11-30") is for the footer.
 */
export function manPage(
  facts: CommandFacts,
  { all, date = "" }: { readonly all: readonly CommandFacts[]; readonly date?: string },
): string {
  const { name, summary, arguments: args } = facts;
  const own = facts.options.filter(({ isGlobal }) => name === "" || !isGlobal);
  const sections = [
    section("NAME", `${roff(pageName(facts))} \\- ${roff(lowered(summary))}`),
    section("SYNOPSIS", `.B lovage${name && ` ${roff(name)}`}\n${roff(facts.usage)}`),
    section("DESCRIPTION", roff(summary)),
    section("ARGUMENTS", args.map((one) => item(roff(one.name), sentence(one.help))).join("\n")),
    section("COMMANDS", name !== "" ? "" : all.slice(1).map(commandItem).join("\n")),
    section("OPTIONS", optionItems(facts, own)),
    section("USAGE", facts.text === undefined ? "" : `.nf\n${lines(facts.text)}\n.fi`),
    section("EXIT STATUS", EXITS.map(([code, text]) => item(code, text)).join("\n")),
    section("ENVIRONMENT", environment(name, own)),
    section("SEE ALSO", seeAlso(name, all)),
  ];
  return `.\\" Made of the tables of the program's options: "lovage man".
.TH ${pageName(facts).toUpperCase()} 1 "${date}" "Lovage ${VERSION}" "Lovage"
.nh
.ad l
${sections.filter(Boolean).join("\n")}
`;
}

function section(title: string, body: string): string {
  return body === "" ? "" : `.SH ${title}\n${body}`;
}

function commandItem(facts: CommandFacts): string {
  return `.TP\n.BR ${roff(pageName(facts))} (1)\n${roff(facts.summary)}`;
}

function optionItems({ name }: CommandFacts, options: readonly OptionFacts[]): string {
  const items = options.map(({ long, short, value, help }) => {
    const spelled = [short, long].filter((one) => one !== undefined).map((one) => `\\fB${roff(one)}\\fR`);
    const given = value === undefined ? "" : ` \\fI${roff(value)}\\fR`;
    return `.TP\n${spelled.join(", ")}${given}\n${roff(sentence(help))}`;
  });
  if (name === "") return items.join("\n");
  const global = "The options that every command takes are in\n.BR lovage (1).";
  return items.length === 0 ? global : `${items.join("\n")}\n.PP\n${global}`;
}

function environment(name: string, options: readonly OptionFacts[]): string {
  const items = options.filter(({ variables }) => variables.length > 0).map(({ long, variables }) =>
    `.TP\n${variables.map((one) => `\\fB${roff(one)}\\fR`).join(", ")}\n${
      roff(`Sets ${long} if the command line does not.`)
    }`
  );
  const more = name === "" ? VARIABLES.map(([variable, text]) => item(variable, text)) : [];
  return [...items, ...more].join("\n");
}

function seeAlso(name: string, all: readonly CommandFacts[]): string {
  const others = name === ""
    ? []
    : all.filter((one) =>
      one.name === "" || ["worker", "beat", "multi"].includes(one.name) && one.name !== name
    );
  return others.map((one) => `.BR ${roff(pageName(one))} (1)`).join(",\n");
}

function item(term: string, text: string): string {
  return `.TP\n\\fB${term}\\fR\n${roff(text)}`;
}

function sentence(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

function lowered(summary: string): string {
  return (/^[A-Z][a-z]/.test(summary) && !/^Celery/.test(summary)
    ? summary[0]!.toLowerCase() + summary.slice(1)
    : summary)
    .replace(/\.$/, "");
}

/** Escapes text for the markup: lines that look like requests, hyphens and backslashes. */
function roff(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^([.'])/gm, "\\&$1");
}

function lines(text: string): string {
  return text.trim().split("\n").map((line) => roff(line).trimEnd()).join("\n");
}
