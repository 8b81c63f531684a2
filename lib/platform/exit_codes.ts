/**
 * The exit statuses of Celery's commands (sysexits). docs/reference/exit-codes.md is generated from these
 * comments.
 */
export const EXIT = {
  /** Done. */
  OK: 0,
  /** The request failed: a task, a node or a check failed, or every worker replied with an error. */
  FAILURE: 1,
  /** The command line or a setting is wrong: an unknown option, an invalid value, a missing module. */
  USAGE: 64,
  /** The broker or the result store cannot be reached or used, or no worker replied. */
  UNAVAILABLE: 69,
  /**
   * A file cannot be created, or something else lies at its path: a pid file, a schedule, the program's own
   * copy.
   */
  CANNOT_CREATE: 73,
} as const;

/** Returns the exit status of a process that was ended by a signal. */
export function exitOfSignal(name: "SIGINT" | "SIGTERM" | "SIGKILL" | "SIGQUIT" | "SIGHUP"): number {
  return 128 + { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 }[name];
}
