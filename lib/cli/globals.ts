/** The options that every command takes. */

import type { Command } from "commander";

/** Adds them to a command. */
export function addGlobals(command: Command): Command {
  return command
    .option("-A, --app <module>", "task module: a file, a folder or a bare name, with an optional :export")
    .option("-b, --broker <url>", "the broker")
    .option("--result-backend <url>", "the result store")
    .option("--config <file>", "settings from a .ts, .json or .toml file")
    .option("--workdir <folder>", "change to this folder first")
    .option("-C, --no-color", "no colours")
    .option("-q, --quiet", "say less")
    .helpOption("--help", "print this help and exit");
}
