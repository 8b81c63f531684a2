/** What commands say on standard error, where only records of the log may stand: `--log-format json`. */

import type { Level, Terminal } from "../base/mod.ts";
import type { RealWorld } from "../platform/mod.ts";

/** How a text begins, and the level of its record. Errors end a command: no level of the log hides them. */
const LEVEL_OF: readonly (readonly [prefix: string, level: Level])[] = [
  ["Error: ", "CRITICAL"],
  ["Warning: ", "WARNING"],
];

/**
 * A World whose terminal makes a record of each text on standard error once the log's lines are JSON. Records stay as
 * they are: those of a child.
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
 * A World in which what a daemon says of itself, on either stream, goes to its log. With `isMute` only what it would
 * have said on standard error does: nobody reads the other.
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
