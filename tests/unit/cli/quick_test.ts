import assert from "node:assert/strict";
import { Command } from "commander";
import { addGlobals } from "../../../lib/cli/globals.ts";
import { readQuickly } from "../../../lib/cli/quick.ts";
import { COMMANDS } from "../../../lib/cli/table.ts";

/** What commander makes of the words; null: it refuses them. */
function byCommander(define: (command: Command) => void, words: string[]) {
  const command = new Command("x").exitOverride().configureOutput({ writeErr: () => {} });
  define(command);
  try {
    command.action(() => {}).parse(words, { from: "user" });
  } catch {
    return null;
  }
  return { options: { ...command.opts() }, args: command.args };
}

for (const { name, isRaw, load } of COMMANDS) {
  if (isRaw) continue;
  Deno.test(`quick: ${name}: each option is read as commander reads it, or left to it`, async () => {
    const module = await load();
    const define = (command: Command) => module.define(addGlobals(command));
    const grammar = new Command("x");
    define(grammar);
    const required = grammar.registeredArguments.filter((one) => one.required).map(() => "an-argument");
    const lines: string[][] = [required, [...required, ...required], ["--no-such-option", ...required]];
    for (const { short, long, required: takesValue } of grammar.options) {
      for (const spelling of [short, long]) {
        if (!spelling) continue;
        for (const value of takesValue ? ["3", "3,1", "INFO", "[1]", '{"a":1}', "fair"] : []) {
          lines.push([spelling, value, ...required], [...required, `${spelling}=${value}`]);
          lines.push([spelling, value, ...required, spelling, value]);
        }
        lines.push([...required, spelling], [spelling, ...required]);
      }
    }
    let read = 0;
    for (const words of lines) {
      const quick = readQuickly(define, words);
      if (quick === null) continue;
      read++;
      assert.deepEqual(
        { options: { ...quick.options }, args: quick.args },
        byCommander(define, words),
        words.join(" "),
      );
    }
    assert(read > grammar.options.length, `most of ${lines.length} lines are read quickly, not ${read}`);
  });
}
