/** Signals to the process. */

/** The signals that a worker listens to. */
export const WORKER_SIGNALS = ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;

/** One of the signals that a worker listens to. */
export type SignalName = typeof WORKER_SIGNALS[number];

/** Calls `onSignal` for each signal of `names`, until the returned function is called. */
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
 * Ignores the signals of a worker in this process and leaves them to the parent: supervisors, init programs
 * and systemd send them to each process of a service, and only the parent decides what happens to its
 * children. Code that runs here may still listen to them; `onListener` is called for the first listener to
 * each.
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

/** Returns true if workers listen to this signal. */
export function isWorkerSignal(name: string): name is SignalName {
  return (WORKER_SIGNALS as readonly string[]).includes(name);
}

/** Sends a signal. Returns false if that fails, as when there is no such process. */
export function sendSignal(pid: number, name: Deno.Signal): boolean {
  try {
    Deno.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}
