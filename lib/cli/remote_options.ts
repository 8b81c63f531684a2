/** The options of `status`, `inspect` and `control`, in a file that loads no code for connecting. */

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
  min: { value: "nodes", help: "exit with 69 unless at least so many nodes reply", read: whole(1) },
  wait: {
    value: "seconds",
    help: "wait up to this time for --min nodes, or for one",
    read: duration(0),
  },
  local: {
    help: "check workers and beats of this machine without a broker: 0 if all (or NAME) respond, else 1",
  },
} as const satisfies Options;

/** The values of these options. */
export type StatusValues = ValuesOf<typeof STATUS_OPTIONS>;
