/** What a command of the CLI is. */

import type { Command } from "commander";
import type { RealWorld } from "../platform/mod.ts";
import type { App } from "../app/mod.ts";

/** The options that every command takes, before or after its name. */
export interface GlobalOptions {
  app?: string;
  broker?: string;
  resultBackend?: string;
  config?: string;
  workdir?: string;
  /** False with `-C`/`--no-color`. */
  color: boolean;
  quiet?: boolean;
}

/** What a running command is given. */
export interface CommandContext {
  readonly world: RealWorld;
  readonly globals: GlobalOptions;
  /** The words behind the command's name, unparsed. */
  readonly argv: readonly string[];
  /**
   * The App of `-A` (or an App without tasks where none is given), with the command line's settings on top.
   * `settings` are more that win, `include` more task modules. Throws UsageError.
   */
  loadApp(more?: {
    readonly settings?: Readonly<Record<string, unknown>>;
    readonly include?: readonly string[];
  }): Promise<App>;
}

/** A command: how it is called, and what it does. `Options` is what commander makes of the options. */
export interface CommandModule {
  /** Adds arguments and options; the global ones are there already. */
  define(command: Command): void;
  /** Does it; the exit status. Errors of base/errors.ts are told by the caller in one line. */
  run(context: CommandContext, args: string[], options: Record<string, unknown>): Promise<number>;
}

/** A command's line in the table: its name, its line in the help, and its module, loaded when it is called. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  /** Not shown in the help: for this program's own use. */
  readonly isHidden?: boolean;
  /** The words behind the name are handed over unparsed, `--help` included. */
  readonly isRaw?: boolean;
  load(): Promise<CommandModule>;
}
