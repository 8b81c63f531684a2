/**
 * What a message is, before and after the wire. Types only; envelope.ts, task_message.ts, result_meta.ts encode and
 * decode them.
 *
 * Source: shared shapes of Celery 5.2.6 and 5.6.3 (celery app/amqp.py as_task_v2, kombu message and virtual base).
 */

/** Message properties, in our names. Unknown ones are kept in `rest` and sent again. */
export interface MessageProperties {
  correlationId: string | null;
  /** Where rpc results go; empty text where unknown. */
  replyTo: string | null;
  /** 2 persistent, 1 transient. */
  deliveryMode: 1 | 2;
  /** 0 to 9. */
  priority: number;
  /** Milliseconds as text, AMQP's way; null: none. */
  expiration: string | null;
  rest: Record<string, unknown> | null;
}

/** How a message travelled. */
export interface DeliveryInfo {
  exchange: string;
  routingKey: string;
  redelivered: boolean;
}

/** A message with its body still encoded: what publishers make and what transports deliver. */
export interface EncodedMessage {
  /** Body bytes, or their base64 text where `bodyEncoding` is "base64" (virtual transports). */
  body: Uint8Array | string;
  /** "base64": `body` is base64 text. "none": bytes, or text sent as it is. */
  bodyEncoding: "base64" | "none";
  contentType: string;
  contentEncoding: string;
  /** The wire's headers under the wire's names. */
  headers: Record<string, unknown>;
  properties: MessageProperties;
}

/** The headers of a task message (protocol 2 names in camelCase; null where absent). Times are ISO 8601 text. */
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
  /** Seconds; hard first on the wire, named here. */
  timeLimit: number | null;
  softTimeLimit: number | null;
  rootId: string | null;
  parentId: string | null;
  argsrepr: string | null;
  kwargsrepr: string | null;
  origin: string | null;
  /** What the sender said of it, which counts before what the task says; null: nothing. */
  ignoreResult: boolean | null;
  replacedTaskNesting: number;
  stampedHeaders: string[] | null;
  stamps: Record<string, unknown>;
  /** A compressor's content type, or null. */
  compression: string | null;
  /** Every header that is not one of the above: the caller's own. */
  custom: Record<string, unknown> | null;
}

/** A signature as it travels (`{"task", "args", "kwargs", "options", "subtask_type", "immutable"}`). */
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

/** Celery's states; any other text is a state of the user's own. */
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

/** A stored result, decoded. Dates are ISO 8601 text. */
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
  /** Of `result_extended`, null where absent. */
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
