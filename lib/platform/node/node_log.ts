/**
 * The library's log in a user's program, which has a log of its own: warnings and worse on standard error,
 * one line each.
 */

import { type Level, LEVELS, type Log, shownLine } from "../../base/mod.ts";

/** Returns a Log. `write` is called with whole lines. */
export function nodeLog(write: (text: string) => void): Log {
  const log: Log = {
    level: "WARNING",
    isOn: (level: Level) => LEVELS[level] >= LEVELS[log.level],
    emit(level, message, context) {
      if (!log.isOn(level)) return;
      const traceback = context?.error?.traceback;
      write(`[lovage: ${level}] ${shownLine(message)}\n${traceback ? `${traceback}\n` : ""}`);
    },
    debug: (message) => log.emit("DEBUG", message),
    info: (message) => log.emit("INFO", message),
    warning: (message) => log.emit("WARNING", message),
    error: (message) => log.emit("ERROR", message),
    critical: (message) => log.emit("CRITICAL", message),
    flush: () => Promise.resolve(),
    reopen() {
      // it has no file
    },
  };
  return log;
}
