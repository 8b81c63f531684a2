/** Completions for fish 3 and newer. */

import type { CommandFacts, OptionFacts } from "./command.ts";
import { completed, firstWords, understood } from "./completion_words.ts";

/** The script. */
export function fishCompletions(facts: readonly CommandFacts[]): string {
  const [program, ...commands] = facts as [CommandFacts, ...CommandFacts[]];
  const withValue = program.options.filter((option) => completed(option) !== null).flatMap(understood);
  return `# Completions of lovage for fish, made by "lovage completions fish".
#   lovage completions fish > ~/.config/fish/completions/lovage.fish

# The command on the line so far, and the words after it.
function __lovage_words
    set -l skips 0
    set -l found 0
    for word in (commandline -opc)[2..]
        if test $skips = 1
            set skips 0
        else if test $found = 1
            echo -- $word
        else if contains -- $word ${withValue.join(" ")}
            set skips 1
        else if not string match -q -- '-*' $word
            set found 1
            echo -- $word
        end
    end
end

function __lovage_needs_command
    test (count (__lovage_words)) = 0
end

function __lovage_command
    contains -- (__lovage_words)[1] $argv
end

# True if the command has no argument yet.
function __lovage_first
    set -l words (__lovage_words)
    contains -- $words[1] $argv; and test (count (string match -v -- '-*' $words)) = 1
end

${program.options.map((option) => optionLine(option, null)).join("\n")}
${
    commands.map(({ name, summary }) =>
      `complete -c lovage -n __lovage_needs_command -f -a ${name} -d ${quoted(summary)}`
    ).join("\n")
  }
complete -c lovage -n __lovage_needs_command -f -a help -d 'Print the help of the program or a command.'
complete -c lovage -n '__lovage_command help' -f -a '${commands.map(({ name }) => name).join(" ")}'
${commands.flatMap(commandLines).join("\n")}
`;
}

function commandLines(facts: CommandFacts): string[] {
  const own = facts.options.filter(({ isGlobal }) => !isGlobal).map((option) =>
    optionLine(option, facts.name)
  );
  const words = firstWords(facts);
  if (words.length === 0) return own;
  return [...own, `complete -c lovage -n '__lovage_first ${facts.name}' -f -a ${quoted(words.join(" "))}`];
}

function optionLine(option: OptionFacts, command: string | null): string {
  const kind = completed(option);
  const { long, short, help } = option;
  const letter = short === undefined ? "" : ` -s ${short.slice(1)}`;
  const where = command === null ? "" : ` -n '__lovage_command ${command}'`;
  const value = kind === null
    ? ""
    : kind === "files"
    ? " -r -F"
    : kind === "folders"
    ? " -x -a '(__fish_complete_directories)'"
    : kind === "words"
    ? ` -x -a ${quoted(option.words.join(" "))}`
    : " -x";
  return `complete -c lovage${where}${letter} -l ${long.slice(2)}${value} -d ${quoted(help)}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
