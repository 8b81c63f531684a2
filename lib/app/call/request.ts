/** The request that a running task sees as `self.request`: every field of Celery's, in camelCase. */

import type { DeliveryInfo, WireSignature } from "../../wire/mod.ts";

/** Plain data about one execution. Times are ISO 8601 text; limits are seconds. */
export interface TaskRequest {
  /** The task's id. */
  id: string;
  /** The task's name. */
  task: string;
  /** Positional arguments. */
  args: unknown[];
  /** Keyword arguments. */
  kwargs: Record<string, unknown>;
  /** Id of the first task of the tree that this one belongs to. */
  rootId: string | null;
  /** Id of the task that sent this one, or null. */
  parentId: string | null;
  /** Id of the group that it is a member of, or null. */
  group: string | null;
  /** Its position in the group, or null. */
  groupIndex: number | null;
  /** The body of the chord whose header it is in, or null. */
  chord: WireSignature | null;
  /** Reversed: the last element runs next. */
  chain: WireSignature[] | null;
  /** Signatures to send with the result. */
  callbacks: WireSignature[] | null;
  /** Signatures to run after a failure. */
  errbacks: WireSignature[] | null;
  /** Number of retries so far. */
  retries: number;
  /** When it was due, or null. */
  eta: string | null;
  /** When it expires, or null. */
  expires: string | null;
  /** Hard limit, or null. */
  timeLimit: number | null;
  /** Soft limit, or null. */
  softTimeLimit: number | null;
  /** Both limits, the hard one first, as in the message. */
  timelimit: [hard: number | null, soft: number | null];
  /** How the message was delivered. */
  deliveryInfo: DeliveryInfo & { priority: number };
  /** Queue for the result, over rpc. */
  replyTo: string | null;
  /** The message's correlation id. */
  correlationId: string | null;
  /** The caller's own headers. */
  headers: Record<string, unknown>;
  /** Properties of the message, under AMQP's names. */
  properties: Record<string, unknown>;
  /** Node name of the worker. */
  hostname: string | null;
  /** The process that sent it, such as `gen123@host`. */
  origin: string | null;
  /** A name for logs in place of its own, or null. */
  shadow: string | null;
  /** Python's repr of the arguments, for monitors. */
  argsrepr: string | null;
  /** Python's repr of the keyword arguments, for monitors. */
  kwargsrepr: string | null;
  /** True: times are UTC. */
  utc: boolean;
  /** True for `apply` and calls under `task_always_eager`. */
  isEager: boolean;
  /** True if the task was called as a function. */
  calledDirectly: boolean;
  /** True if the result is not stored. */
  ignoreResult: boolean;
  /** How many replacements led to this run. */
  replacedTaskNesting: number;
  /** Stamps by name. */
  stamps: Record<string, unknown>;
  /** Names of the stamps, or null. */
  stampedHeaders: string[] | null;
  /** The tasks that this one has sent, as result tuples. */
  children: unknown[];
}
