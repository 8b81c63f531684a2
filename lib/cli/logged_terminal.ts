/** Turns texts on standard error into log records, for `--log-format json`. */

import type { Level, Terminal } from "../base/mod.ts";
import type { RealWorld } from "../platform/mod.ts";

/** The prefix of a text, and the level of its record. Errors end a command, so no log level hides them. */
const LEVEL_OF: readonly (readonly [prefix: string, level: Level])[] = [
  ["Error: ", "CRITICAL"],
  ["Warning: ", "WARNING"],
];

/**
 * Returns a World whose terminal logs each text on standard error as a record once the log format is JSON.
 * Texts that are records already, from a child, stay as they are.
 */
export function withLoggedErrors(world: RealWorld): RealWorld {
  const { terminal, log } = world;
  const err = (text: string): void => {
    if (!log.isJson || isRecords(text)) return terminal.err(text);
    const message = text.trim();
    if (message === "") return;
    const [prefix, level] = LEVEL_OF.find(([prefix]) => message.startsWith(prefix)) ?? ["", "WARNING"];
    log.notice(level, message.slice(prefix.length));
  };
  return { ...world, terminal: withText(terminal, { err }) };
}

/**
 * Returns a World whose terminal writes to the log: standard output as INFO, standard error as WARNING. With
 * `isMute`, standard output is discarded.
 */
export function withLogForTerminal(world: RealWorld, { isMute }: { readonly isMute: boolean }): RealWorld {
  const { log, terminal } = world;
  const out = (text: string): void => isMute ? undefined : log.info(text.trim());
  const err = (text: string): void => log.warning(text.trim());
  return { ...world, terminal: { ...withText(terminal, { out, err }), styled: () => {} } };
}

function withText(terminal: Terminal, changed: Partial<Pick<Terminal, "out" | "err">>): Terminal {
  return {
    ...terminal,
    get columns() {
      return terminal.columns;
    },
    ...changed,
  };
}

function isRecords(text: string): boolean {
  return text.trimEnd().split("\n").every((line) => line.startsWith("{") && line.endsWith("}"));
}
