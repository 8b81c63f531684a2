/** The request that a running task sees as `self.request`: every field of Celery's, in camelCase. */

import type { DeliveryInfo, WireSignature } from "../../wire/mod.ts";

/** Plain data about one execution. Times are ISO 8601 text; limits are seconds. */
export interface TaskRequest {
  id: string;
  task: string;
  args: unknown[];
  kwargs: Record<string, unknown>;
  rootId: string | null;
  parentId: string | null;
  group: string | null;
  groupIndex: number | null;
  chord: WireSignature | null;
  /** Reversed: the last element runs next. */
  chain: WireSignature[] | null;
  callbacks: WireSignature[] | null;
  errbacks: WireSignature[] | null;
  retries: number;
  eta: string | null;
  expires: string | null;
  timeLimit: number | null;
  softTimeLimit: number | null;
  /** Both limits, the hard one first, as in the message. */
  timelimit: [hard: number | null, soft: number | null];
  deliveryInfo: DeliveryInfo & { priority: number };
  replyTo: string | null;
  correlationId: string | null;
  /** The caller's own headers. */
  headers: Record<string, unknown>;
  properties: Record<string, unknown>;
  /** Node name of the worker. */
  hostname: string | null;
  origin: string | null;
  shadow: string | null;
  argsrepr: string | null;
  kwargsrepr: string | null;
  utc: boolean;
  isEager: boolean;
  calledDirectly: boolean;
  ignoreResult: boolean;
  replacedTaskNesting: number;
  stamps: Record<string, unknown>;
  stampedHeaders: string[] | null;
  /** The tasks that this one has sent, as result tuples. */
  children: unknown[];
}
