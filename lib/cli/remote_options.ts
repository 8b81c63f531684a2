/** The options of `status`, `inspect` and `control`, in a file that loads nothing of the way to the cluster. */

import { duration, someOf, whole } from "./arguments.ts";
import { JSON_OPTION, type Options, type ValuesOf } from "./command.ts";

/** The options of the three commands. */
export const REMOTE_OPTIONS = {
  timeout: {
    short: "-t",
    value: "seconds",
    help: 'wait no longer than this for replies (default: "1.0")',
    read: duration(0),
  },
  destination: {
    short: "-d",
    value: "nodes",
    help: "only these nodes, comma separated",
    read: someOf("node"),
  },
  ...JSON_OPTION,
} as const satisfies Options;

/** The options of `status`. */
export const STATUS_OPTIONS = {
  ...REMOTE_OPTIONS,
  min: { value: "nodes", help: "exit with 69 unless that many are there", read: whole(1) },
  wait: {
    value: "seconds",
    help: "with --min (or alone: for the first node): wait for them so long",
    read: duration(0),
  },
  local: { help: "workers and beats of this machine, without a broker: 0 if all (or NAME) turn, else 1" },
} as const satisfies Options;

/** The same, read. */
export type StatusValues = ValuesOf<typeof STATUS_OPTIONS>;
