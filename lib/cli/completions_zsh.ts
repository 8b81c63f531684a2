/** Completions for zsh. */

import type { CommandFacts, OptionFacts } from "./command.ts";
import { completed, firstWords, spellings } from "./completion_words.ts";

/** The script: a file for $fpath that may also be sourced. */
export function zshCompletions(facts: readonly CommandFacts[]): string {
  const [program, ...commands] = facts as [CommandFacts, ...CommandFacts[]];
  const descriptions = commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`);
  return `#compdef lovage
# Completions of lovage for zsh, made by "lovage completions zsh".
#   lovage completions zsh > a folder of $fpath, as _lovage

_lovage_commands() {
  local -a commands=(
${descriptions.join("\n")}
    'help:Print the help of the program or a command.'
  )
  _describe -t commands command commands
}

_lovage() {
  local context state state_descr line
  typeset -A opt_args
  _arguments -s -S -C \\
${program.options.map(optionLine).join("")}    '1:command:_lovage_commands' \\
    '*::argument:->argument' && return
  [[ $state == argument ]] || return 1
  case $words[1] in
${commands.map(commandCase).join("\n")}
    help) _arguments '1:command:_lovage_commands' ;;
  esac
}

if [ "$funcstack[1]" = _lovage ]; then
  _lovage "$@"
else
  compdef _lovage lovage
fi
`;
}

function commandCase(facts: CommandFacts): string {
  const words = firstWords(facts);
  const first = words.length > 0 ? [`    '1:${facts.arguments[0]!.name}:(${words.join(" ")})' \\\n`] : [];
  const lines = [...facts.options.map(optionLine), ...first, "    '*:file:_files'"];
  return `    ${facts.name}) _arguments -s -S \\\n${lines.join("")} ;;`;
}

/** Returns `'(-c --concurrency)'{-c+,--concurrency=}'[tasks at a time]:n: ' \`. */
function optionLine(option: OptionFacts): string {
  const kind = completed(option);
  const all = spellings(option);
  const spelled = kind === null ? all : all.map((one) => one.startsWith("--") ? `${one}=` : `${one}+`);
  const action = { words: `(${option.words.join(" ")})`, files: "_files", folders: "_files -/", text: " " };
  const value = kind === null ? "" : `:${plain(option.value!)}:${action[kind]}`;
  const head = all.length === 1 ? spelled[0]! : `'(${all.join(" ")})'{${spelled.join(",")}}`;
  return `    ${head}${quoted(`[${plain(option.help)}]${value}`)} \\\n`;
}

function plain(text: string): string {
  return text.replace(/[[\]:\\]/g, "\\$&");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
