/** Signals of the process. */

/** The signals a worker or beat listens to. */
export type SignalName = "SIGTERM" | "SIGINT" | "SIGQUIT" | "SIGHUP" | "SIGUSR1" | "SIGUSR2";

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

/** Sends a signal; false where there is no such process. */
export function sendSignal(pid: number, name: Deno.Signal): boolean {
  try {
    Deno.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}
