/**
 * The types of messages and results. envelope.ts, task_message.ts, task_decoder.ts and result_meta.ts encode
 * and decode them.
 *
 * Source: shared shapes of Celery 5.2.6 and 5.6.3 (celery app/amqp.py as_task_v2, kombu message and virtual
 * base).
 */

/** Message properties, by our names. Unknown ones are kept in `rest` and sent on. */
export interface MessageProperties {
  correlationId: string | null;
  /** The queue for rpc results; "" if unknown. */
  replyTo: string | null;
  /** 2 persistent, 1 transient. */
  deliveryMode: 1 | 2;
  /** 0 to 9. */
  priority: number;
  /** Milliseconds as text, as in AMQP; null: none. */
  expiration: string | null;
  rest: Record<string, unknown> | null;
}

/** How a message was delivered. */
export interface DeliveryInfo {
  exchange: string;
  routingKey: string;
  redelivered: boolean;
}

/** A message with an encoded body, as publishers create it and transports deliver it. */
export interface EncodedMessage {
  /** The body's bytes or text, or its base64 text if `bodyEncoding` is "base64" (virtual transports). */
  body: Uint8Array | string;
  /** "base64": `body` is base64 text. "none": bytes, or text sent as it is. */
  bodyEncoding: "base64" | "none";
  contentType: string;
  contentEncoding: string;
  /** The headers by their names on the wire. */
  headers: Record<string, unknown>;
  properties: MessageProperties;
}

/**
 * The headers of a task message: the names of protocol 2 in camelCase; an absent one is null. Times are ISO
 * 8601 text.
 */
export interface TaskHeaders {
  lang: string | null;
  task: string;
  id: string;
  shadow: string | null;
  eta: string | null;
  expires: string | null;
  group: string | null;
  groupIndex: number | null;
  retries: number;
  /** The hard limit in seconds. On the wire both limits are one list, the hard one first. */
  timeLimit: number | null;
  softTimeLimit: number | null;
  rootId: string | null;
  parentId: string | null;
  argsrepr: string | null;
  kwargsrepr: string | null;
  origin: string | null;
  /** The sender's choice, which overrides the task's; null: none. */
  ignoreResult: boolean | null;
  replacedTaskNesting: number;
  stampedHeaders: string[] | null;
  stamps: Record<string, unknown>;
  /** A compressor's content type, or null. */
  compression: string | null;
  /** All other headers, which are the caller's own. */
  custom: Record<string, unknown> | null;
}

/** A signature in wire form (`{"task", "args", "kwargs", "options", "subtask_type", "immutable"}`). */
export interface WireSignature {
  task: string;
  args?: unknown[];
  kwargs?: Record<string, unknown>;
  options?: Record<string, unknown>;
  subtask_type?: string | null;
  immutable?: boolean;
  [key: string]: unknown;
}

/** A result tuple: `[["id", parent or null], null]`, or for a group `[["id", parent], [members]]`. */
export type ResultTuple = [[string, ResultTuple | null], ResultTuple[] | null];

/** Celery's states; any other text is a user's own state. */
export type TaskState =
  | "PENDING"
  | "RECEIVED"
  | "STARTED"
  | "SUCCESS"
  | "FAILURE"
  | "REVOKED"
  | "RETRY"
  | "REJECTED"
  | "IGNORED"
  | (string & Record<never, never>);

/** A decoded stored result. Dates are ISO 8601 text. */
export interface ResultMeta {
  taskId: string;
  state: TaskState;
  /** The value; for RETRY, FAILURE and REVOKED a WireException. */
  result: unknown;
  traceback: string | null;
  children: ResultTuple[] | null;
  dateDone: string | null;
  groupId: string | null;
  parentId: string | null;
  /** From `result_extended`, as are the following fields; null if absent. */
  name: string | null;
  args: unknown[] | null;
  kwargs: Record<string, unknown> | null;
  worker: string | null;
  retries: number | null;
  queue: string | null;
  stamps: Record<string, unknown> | null;
}

/** States after which a result does not change. */
export const READY_STATES: ReadonlySet<string> = new Set(["SUCCESS", "FAILURE", "REVOKED"]);
/** States whose result is an exception. */
export const EXCEPTION_STATES: ReadonlySet<string> = new Set(["RETRY", "FAILURE", "REVOKED"]);
/** States that make `get` throw. */
export const PROPAGATE_STATES: ReadonlySet<string> = new Set(["FAILURE", "REVOKED"]);
