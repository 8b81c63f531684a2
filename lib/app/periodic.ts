/** `app.addPeriodicTask`: entries of `beat_schedule` made in code. Source: celery 5.2.6 app/base.py. */

import { UsageError } from "../base/mod.ts";
import { pythonRepr } from "../wire/mod.ts";
import type { App } from "./app.ts";
import type { BeatEntry, Schedule } from "./schedules.ts";
import type { SignatureLike } from "../canvas/mod.ts";
import { wireSignature } from "./send_options.ts";

/** Options of `addPeriodicTask`: a name, and those of the entry. */
export interface PeriodicOptions extends Omit<Partial<BeatEntry>, "task" | "schedule"> {
  /** The entry's key; default the signature's repr. */
  name?: string;
}

/** Arguments that came with a signature, which Python has as a tuple. */
const tuples = new WeakSet<readonly unknown[]>();

/** Whether Celery would show these arguments of an entry as a tuple, `(1, 2)`, or as the list given, `[1, 2]`. */
export function areTuple(args: readonly unknown[]): boolean {
  return tuples.has(args);
}

/** Adds an entry; its key. An entry of the same key is replaced. */
export function addPeriodicTask(
  app: App,
  schedule: Schedule,
  signature: SignatureLike,
  options: PeriodicOptions = {},
): string {
  const wire = wireSignature(signature);
  if (typeof wire?.task !== "string") throw new UsageError("addPeriodicTask needs a signature: task.s(…)");
  const { name, ...entry } = options;
  const args = options.args ?? wire.args ?? [];
  const kwargs = options.kwargs ?? wire.kwargs ?? {};
  const key = name ??
    `${wire.task}(${
      [
        ...args.map((one) => pythonRepr(one)),
        ...Object.entries(kwargs).map(([k, v]) => `${k}=${pythonRepr(v)}`),
      ]
        .join(", ")
    })`;
  const made: BeatEntry = {
    ...entry,
    task: wire.task,
    schedule,
    args,
    kwargs,
    options: { ...wire.options, ...options.options },
  };
  if (made.args) tuples.add(made.args);
  app.conf.beat_schedule = { ...app.conf.beat_schedule, [key]: made };
  return key;
}
