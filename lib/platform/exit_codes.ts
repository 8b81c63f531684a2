/** Exit statuses, as Celery's commands have them (sysexits). docs/reference/exit-codes.md is made of these comments. */
export const EXIT = {
  /** Done. */
  OK: 0,
  /** What was asked for failed: a task, a node, a check; every worker answered with an error. */
  FAILURE: 1,
  /** The command line or a setting is wrong: an unknown option, a value that cannot be, a module that is not there. */
  USAGE: 64,
  /** The broker or the result store cannot be reached or used, or no worker answered. */
  UNAVAILABLE: 69,
  /** A file cannot be made, or something else lies at its path: a pid file, a schedule, the program's own copy. */
  CANNOT_CREATE: 73,
} as const;

/** Returns the exit status of a process that was ended by a signal. */
export function exitOfSignal(name: "SIGINT" | "SIGTERM" | "SIGKILL" | "SIGQUIT" | "SIGHUP"): number {
  return 128 + { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 }[name];
}
