/**
 * cli: the command line. One file for each command. Commands declare their options, call the rooms below and
 * print; the work itself is done in those rooms.
 *
 *     words ──root.ts──► the command (table.ts) ──reader.ts──► options and arguments ──► its `run` ──► exit status
 *
 * Reading order: command.ts (the shape of a command; global options), table.ts (all commands, loaded when
 * they are called), root.ts (finds the command; errors and exit statuses), reader.ts (words and variables to
 * values, by the tables), help.ts (the help, from the same tables), facts.ts with completion_words.ts,
 * completions_bash.ts, completions_fish.ts, completions_zsh.ts and man_page.ts (completions and manual pages,
 * from the same tables), arguments.ts (readers of values), output.ts (printing values), logged_terminal.ts
 * (printed texts as records).
 * Then the commands: daemon.ts and probes.ts (what worker.ts and beat.ts share); call.ts, result.ts, purge.ts,
 * list.ts, report.ts, graph.ts, migrate.ts, logtool.ts, upgrade.ts (upgrade_program.ts with releases.ts,
 * upgrade_settings.ts), version.ts, completions.ts, man.ts, run.ts; init.ts (project_files.ts), types.ts
 * (remote_stubs.ts, python_stubs.ts); letters.ts (dead.ts, failed.ts); remote.ts, remote_options.ts and
 * remote_output.ts (status.ts with status_remote.ts, inspect.ts, control.ts); events.ts (events_dump.ts,
 * events_live.ts, events_screen.ts); multi.ts (multi_help.ts, multi_systemd.ts); ui.ts (ui_options.ts); metrics.ts;
 * and pool_child.ts, which the process pool starts.
 *
 * May import every other room.
 */

export { runCli } from "./root.ts";
