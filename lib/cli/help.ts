/** Formats the help of a command, or of the program, from the tables of options. */

import { type CommandFacts } from "./command.ts";

/** A term and what it means. */
type Item = readonly [term: string, meaning: string];

/** Minimum width of a meaning next to its term; on a narrower terminal it goes below. */
const BESIDE_MIN = 20;
const WIDTH_MIN = 20;

/** Returns the help text. The program's help also lists `commands` and ends with `foot`. */
export function helpText(
  facts: CommandFacts,
  { columns, commands = [], foot = "" }: {
    readonly columns: number;
    readonly commands?: readonly Item[];
    readonly foot?: string;
  },
): string {
  const { name, summary, arguments: args } = facts;
  const width = Math.max(WIDTH_MIN, columns);
  const options = facts.options.map((option): Item => [termOf(option), option.help]);
  const groups: readonly (readonly [string, readonly Item[]])[] = [
    ["Arguments", args.map((one): Item => [one.name, one.help])],
    ["Options", options],
    ["Commands", commands],
  ];
  const termWidth = Math.max(...groups.flatMap(([, items]) => items.map(([term]) => term.length)));
  const shown = groups.filter(([, items]) => items.length > 0).map(([title, items]) =>
    `\n${title}:\n${items.map((item) => formatItem(item, termWidth, width)).join("\n")}\n`
  );
  return `Usage: ${["lovage", name, facts.usage].filter(Boolean).join(" ")}\n\n${
    wrap(summary, width).join("\n")
  }\n` +
    shown.join("") + (foot && `\n${foot}\n`);
}

/** Formats an option: "-c, --concurrency <n>". */
function termOf({ long, short, value }: CommandFacts["options"][number]): string {
  return `${short === undefined ? "" : `${short}, `}${long}${value === undefined ? "" : ` <${value}>`}`;
}

/** Formats term and meaning side by side or, on a narrow terminal, one below the other. */
function formatItem([term, meaning]: Item, termWidth: number, width: number): string {
  const beside = width - termWidth - 4;
  if (beside < BESIDE_MIN) {
    return [`  ${term}`, ...wrap(meaning, width - 6).map((line) => " ".repeat(6) + line)].join("\n");
  }
  const lines = wrap(meaning, beside);
  return [
    `  ${term.padEnd(termWidth)}  ${lines[0]}`,
    ...lines.slice(1).map((line) => " ".repeat(termWidth + 4) + line),
  ]
    .join("\n");
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
