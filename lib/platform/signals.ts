/** Signals of the process. */

/** The signals that a worker listens to. */
export const WORKER_SIGNALS = ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;

/** One of the signals that a worker listens to. */
export type SignalName = typeof WORKER_SIGNALS[number];

/** Calls `onSignal` for each of `names` until the returned function is called. */
export function listenSignals(
  names: readonly SignalName[],
  onSignal: (name: SignalName) => void,
): () => void {
  const listeners = names.map((name) => {
    const listener = () => onSignal(name);
    Deno.addSignalListener(name, listener);
    return { name, listener };
  });
  return () => {
    for (const { name, listener } of listeners) Deno.removeSignalListener(name, listener);
    listeners.length = 0;
  };
}

/**
 * Leaves every signal of a worker to our parent: supervisors, init programs and systemd send them to each process of a
 * service, and the parent alone decides what becomes of its children. The code that runs here may still listen to
 * them; `onListener` hears of the first listener to each.
 */
export function leaveSignalsToParent(onListener: (name: SignalName) => void): void {
  listenSignals(WORKER_SIGNALS, () => {});
  const add = Deno.addSignalListener;
  const heard = new Set<Deno.Signal>();
  Deno.addSignalListener = (name, handler) => {
    add(name, handler);
    if (heard.has(name) || !isWorkerSignal(name)) return;
    heard.add(name);
    onListener(name);
  };
}

/** Whether workers listen to a signal of that name. */
export function isWorkerSignal(name: string): name is SignalName {
  return (WORKER_SIGNALS as readonly string[]).includes(name);
}

/** Sends a signal; false where there is no such process. */
export function sendSignal(pid: number, name: Deno.Signal): boolean {
  try {
    Deno.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}
