/** Completions for bash 4 and newer. */

import type { CommandFacts, OptionFacts } from "./command.ts";
import { completed, firstWords, spellings, understood } from "./completion_words.ts";

/** The script. */
export function bashCompletions(facts: readonly CommandFacts[]): string {
  const [program, ...commands] = facts as [CommandFacts, ...CommandFacts[]];
  const withValue = program.options.filter((option) => completed(option) !== null).flatMap(understood);
  const values = [
    ...program.options.flatMap((option) => valueLine("*", option)),
    ...commands.flatMap(({ name, options }) =>
      options.filter(({ isGlobal }) => !isGlobal).flatMap((option) => valueLine(name, option))
    ),
  ];
  const options = facts.map(({ name, options }) =>
    `    "${name}") echo "${options.flatMap(spellings).join(" ")}" ;;`
  );
  const words = commands.filter((one) => firstWords(one).length > 0).map((one) =>
    `    ${one.name}) echo "${firstWords(one).join(" ")}" ;;`
  );
  return `${HEAD}
_lovage_options() {
  case $1 in
${options.join("\n")}
  esac
}

_lovage_words() {
  case $1 in
    "") echo "${commands.map(({ name }) => name).join(" ")} help" ;;
    help) echo "${commands.map(({ name }) => name).join(" ")}" ;;
${words.join("\n")}
  esac
}

# How to complete option $2 of command $1: words, or FILES, FOLDERS, TEXT; nothing for a flag.
_lovage_value() {
  case "$1 $2" in
${values.join("\n")}
  esac
}

${COMPLETE.replace("@WITH_VALUE@", withValue.join("|"))}`;
}

function valueLine(command: string, option: OptionFacts): string[] {
  const kind = completed(option);
  if (kind === null) return [];
  const given = kind === "words" ? option.words.join(" ") : kind.toUpperCase();
  const pattern = understood(option).map((one) => command === "*" ? `*" ${one}"` : `"${command} ${one}"`);
  return [`    ${pattern.join("|")}) echo "${given}" ;;`];
}

const HEAD = `# Completions of lovage for bash, made by "lovage completions bash".
#   lovage completions bash > ~/.local/share/bash-completion/completions/lovage
`;

const COMPLETE = `_lovage() {
  local word before=\${COMP_WORDS[COMP_CWORD-1]} current=\${COMP_WORDS[COMP_CWORD]} command= arguments=0 skips=
  COMPREPLY=()
  # Bash splits --option=value into three words.
  if [[ $current == = ]]; then current=; elif [[ $before == = ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ -n $skips ]]; then
      [[ $word == = ]] || skips=
      continue
    fi
    case $word in
      =) skips=1 ;;
      @WITH_VALUE@) skips=1 ;;
      -*) [[ -n $command && $(_lovage_value "$command" "$word") != "" ]] && skips=1 ;;
      *) if [[ -z $command ]]; then command=$word; else ((arguments++)); fi ;;
    esac
  done
  local values
  values=$(_lovage_value "$command" "$before")
  case $values in
    TEXT) return ;;
    FILES) compopt -o filenames; COMPREPLY=($(compgen -f -- "$current")); return ;;
    FOLDERS) compopt -o filenames; COMPREPLY=($(compgen -d -- "$current")); return ;;
    "") ;;
    *) COMPREPLY=($(compgen -W "$values" -- "$current")); return ;;
  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$(_lovage_options "$command")" -- "$current"))
  elif ((arguments == 0)); then
    COMPREPLY=($(compgen -W "$(_lovage_words "$command")" -- "$current"))
  fi
}
complete -o default -F _lovage lovage
`;
