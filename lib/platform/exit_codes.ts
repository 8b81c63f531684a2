/** Exit statuses, as Celery's commands have them (sysexits). */
export const EXIT = {
  OK: 0,
  FAILURE: 1,
  USAGE: 64,
  UNAVAILABLE: 69,
  CANNOT_CREATE: 73,
} as const;

/** The status of a process that a signal ended. */
export function exitOfSignal(name: "SIGINT" | "SIGTERM" | "SIGKILL" | "SIGQUIT" | "SIGHUP"): number {
  return 128 + { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 }[name];
}
