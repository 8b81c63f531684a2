/** `app.addPeriodicTask`: entries of `beat_schedule` made in code. Source: celery 5.2.6 app/base.py. */

import { namesOf, refuseUnknown, UsageError } from "../base/mod.ts";
import { pythonRepr } from "../wire/mod.ts";
import type { AppCore } from "./core.ts";
import { type BeatEntry, ENTRY_OPTIONS, type Schedule } from "./conf/schedules.ts";
import { SIGNATURE_OPTIONS, type SignatureLike } from "../canvas/mod.ts";
import { SEND_OPTION_NAMES, type SendOptions, wireSignature } from "./call/send_options.ts";

/** Options of `addPeriodicTask`: a name, the options of the entry, and those of its calls, as in Celery. */
export interface PeriodicOptions extends Omit<Partial<BeatEntry>, "task" | "schedule">, SendOptions {
  /** The entry's key; default the signature's repr. */
  name?: string;
}

const PERIODIC_NAMES = namesOf<PeriodicOptions>({
  ...SIGNATURE_OPTIONS,
  ...ENTRY_OPTIONS,
  name: true,
});

/** Arguments that came with a signature; in Python they are a tuple. */
const tuples = new WeakSet<readonly unknown[]>();

/** Returns true if Celery would show these arguments as a tuple, `(1, 2)`, and not as a list, `[1, 2]`. */
export function areTuple(args: readonly unknown[]): boolean {
  return tuples.has(args);
}

/** Adds an entry, or replaces the one of the same key. Returns the key. */
export function addPeriodicTask(
  app: AppCore,
  schedule: Schedule,
  signature: SignatureLike,
  options: PeriodicOptions = {},
): string {
  const wire = wireSignature(signature);
  if (typeof wire?.task !== "string") throw new UsageError("addPeriodicTask needs a signature: task.s(…)");
  refuseUnknown(options, PERIODIC_NAMES, "a periodic task");
  const { name, ...given } = options;
  const isOfCall = ([option]: [string, unknown]) => SEND_OPTION_NAMES.has(option);
  const all = Object.entries(given);
  const entry = Object.fromEntries(all.filter((one) => !isOfCall(one)));
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
    options: { ...wire.options, ...Object.fromEntries(all.filter(isOfCall)), ...options.options },
  };
  if (made.args) tuples.add(made.args);
  app.conf.beat_schedule = { ...app.conf.beat_schedule, [key]: made };
  return key;
}
