/**
 * The content of frames between a worker and its slots: jobs out, outcomes back, and everything else as JSON.
 */

import type { LogTask } from "../../base/mod.ts";
import { encodeEnvelope, fromPassedOnJson, fromTypedJson, toJson } from "../../wire/mod.ts";
import type { AlsoFailed, EndedTask, Outcome, OutcomeChord, OutcomeKind } from "../../app/mod.ts";
import type { OutgoingMessage, Queue } from "../../transport/mod.ts";
import type { ChildInit, Job } from "../pool.ts";
import { FRAME, type Frame, type FrameWriter } from "./frame.ts";
import type { InterruptReason, SlotJob } from "../runner.ts";

/**
 * The environment variable with the secrets of a child's connection. A child connects once, so programs that
 * a task starts cannot use them.
 */
export const TOKEN_VARIABLE = "LOVAGE_POOL_TOKEN";

/**
 * Returns the value of that variable: the token that the child shows its worker, and the proof that the
 * worker shows the child.
 */
export function tokenText(token: string, proof: string): string {
  return `${token} ${proof}`;
}

/** Reads the value that `tokenText` made. */
export function readTokenText(text: string): { token: string; proof: string } {
  const [token = "", proof = ""] = text.split(" ");
  return { token, proof };
}

/** The first frame to a slot. */
export interface SlotInit {
  readonly child: ChildInit;
  /** Its process name for the log: "ForkPoolWorker-1". */
  readonly name: string;
  /** True if the slot reports its memory with outcomes, at most every 100 ms. */
  readonly reportMemory: boolean;
  /** True if jobs run at once; false if they run one after the other. */
  readonly isConcurrent: boolean;
  /** True if the slot must watch by itself whether its parent lives. */
  readonly watchParent: boolean;
  /** True if the process hosts isolates and is not a slot itself (child/thread_host.ts). */
  readonly isHost?: boolean;
}

/** The first message to an isolate. It comes with the port that carries all other messages. */
export interface ThreadInit {
  readonly init: SlotInit;
  /** Null if the isolate keeps no journal. */
  readonly journal: SharedArrayBuffer | null;
  /** Where the isolate reports its heap (sandbox/heap_watch.ts); null if it need not. */
  readonly heap: { readonly words: SharedArrayBuffer; readonly limitKib: number } | null;
  /** For a sandbox: the environment variables that modules see while they are loaded. */
  readonly env?: Record<string, string>;
  /** Where a concurrent isolate counts the jobs that it has begun: one 32-bit word. Absent if it need not. */
  readonly begun?: SharedArrayBuffer;
}

/** A failed start, as the slot reports it. */
export interface StartFailure {
  readonly text: string;
  /** The exit code of a UsageError, else null. */
  readonly exitCode: number | null;
  /** The error's class and message, for a sandbox whose task fails with it. */
  readonly name: string;
  readonly message: string;
}

/** A request to interrupt a job. */
export interface Interruption {
  readonly seq: number;
  readonly reason: InterruptReason;
  readonly seconds: number;
}

/** The part of a job that is sent to a slot. */
export type JobToSend = Pick<
  Job,
  "seq" | "envelope" | "message" | "queue" | "redelivered" | "timeLimit" | "softTimeLimit" | "ended"
>;

/**
 * Appends one frame of jobs. Per job: one short array and the envelope's text as it is. If the slot itself
 * has just published the message and keeps it, the number of that publish (`publishOf`) stands in for the
 * text. For a task that has already ended that number is -1, followed by how it ended. `isOpen`: the parent
 * may take the frame back until it is begun (journal.ts).
 */
export function appendJobs(
  writer: FrameWriter,
  frameNumber: number,
  jobs: readonly JobToSend[],
  publishOf: (job: JobToSend) => number | undefined = notPublished,
  isOpen = false,
): void {
  const heads: unknown[] = [];
  let text = "";
  for (const job of jobs) {
    const { seq, queue, redelivered, timeLimit, softTimeLimit } = job;
    const publish = publishOf(job);
    if (publish !== undefined) {
      heads.push([seq, queue, redelivered, timeLimit, softTimeLimit, 0, publish]);
      continue;
    }
    const envelope = job.envelope;
    const head = [seq, queue, redelivered, timeLimit, softTimeLimit, envelope.length];
    heads.push(job.ended === undefined ? head : [...head, ENDED, job.ended]);
    text += envelope;
  }
  writer.append(FRAME.jobs, toJson(isOpen ? [frameNumber, heads, 1] : [frameNumber, heads]), text);
}

function notPublished(): undefined {}

/** Stands in place of a publish's number. */
const ENDED = -1;

/**
 * Decodes a frame of jobs. `takeKept` returns the message that the slot keeps of a publish, and so confirms
 * the publish.
 */
export function decodeJobs(
  frame: Frame,
  takeKept: (publish: number) => OutgoingMessage,
): { frameNumber: number; jobs: SlotJob[]; isOpen: boolean } {
  type Head = [number, string, boolean, number | null, number | null, number, number?, EndedTask?];
  const [frameNumber, heads, open] = fromTypedJson(frame.head) as [number, Head[], number?];
  const jobs: SlotJob[] = [];
  let at = 0;
  for (const [seq, queue, redelivered, timeLimit, softTimeLimit, length, publish, ended] of heads) {
    const limits = { seq, queue, redelivered, timeLimit, softTimeLimit };
    if (ended !== undefined) jobs.push({ ...limits, envelope: frame.text.slice(at, at += length), ended });
    else if (publish === undefined) jobs.push({ ...limits, envelope: frame.text.slice(at, at += length) });
    else jobs.push(keptJob(limits, takeKept(publish)));
  }
  return { frameNumber, jobs, isOpen: open === 1 };
}

/**
 * Makes a job of a message that the slot has kept, as if it had been sent back: its headers are copied
 * through JSON.
 */
function keptJob(
  limits: Omit<SlotJob, "envelope">,
  { exchange, routingKey, message }: OutgoingMessage,
): SlotJob {
  const headers = fromTypedJson(toJson(message.headers)) as Record<string, unknown>;
  return {
    ...limits,
    message: { ...message, headers },
    info: { exchange, routingKey, redelivered: limits.redelivered },
    get envelope(): string {
      return encodeEnvelope(message, { exchange, routingKey, deliveryTag: "" });
    },
  };
}

/**
 * Appends one outcome and returns its bytes, valid until the writer's next call. A success, the commonest
 * outcome, has a special head of a few words before its texts, because reading JSON is a large part of the
 * worker's cost for a task.
 *
 *     P<seq> <runtime> <form> <summary>
 *     C<seq> <runtime> <form> <index, or nothing> <lengths of group id, summary and body, -1: none> <the three><result>
 */
export function appendOutcome(writer: FrameWriter, outcome: Outcome): Uint8Array {
  const { document } = outcome;
  const form = document === null ? 0 : typeof document === "string" ? 1 : 2;
  const head = isPlain(outcome) ? plainHead(outcome, form) : toJson(longHead(outcome, form));
  return form === 2
    ? writer.append(FRAME.outcome, head, "", document as Uint8Array)
    : writer.append(FRAME.outcome, head, form === 1 ? document as string : "");
}

/** Returns true for a stored success with no further fields. */
function isPlain({ kind, state, exception, traceback, expected, requeue, chord, also }: Outcome): boolean {
  return kind === "success" && state === "SUCCESS" && exception === "" && traceback === null && !expected &&
    !requeue && !also && chord?.traceparent === undefined;
}

function plainHead({ seq, runtime, summary, chord }: Outcome, form: number): string {
  if (chord === null) return `P${seq} ${runtime} ${form} ${summary}`;
  const { groupId, groupIndex, body, result } = chord;
  const lengths = `${groupId.length} ${summary.length} ${body === null ? -1 : body.length}`;
  return `C${seq} ${runtime} ${form} ${groupIndex ?? ""} ${lengths} ${groupId}${summary}${
    body ?? ""
  }${result}`;
}

type LongHead = [
  number,
  OutcomeKind,
  string | null,
  number,
  string,
  string,
  string | null,
  boolean,
  boolean,
  OutcomeChord | null,
  number,
  AlsoJson[] | 0,
];

function longHead(outcome: Outcome, form: number): LongHead {
  return [
    outcome.seq,
    outcome.kind,
    outcome.state,
    outcome.runtime,
    outcome.summary,
    outcome.exception,
    outcome.traceback,
    outcome.expected,
    outcome.requeue,
    outcome.chord,
    form,
    outcome.also ? outcome.also.map(alsoToJson) : 0,
  ];
}

/** Decodes one outcome. */
export function decodeOutcome(frame: Frame): Outcome {
  const { head } = frame;
  const kind = head.charCodeAt(0);
  if (kind !== PLAIN && kind !== COUNTED) return longOutcome(fromTypedJson(head) as LongHead, frame);
  const second = head.indexOf(" ") + 1;
  const third = head.indexOf(" ", second) + 1;
  let at = third + 2;
  let chord: OutcomeChord | null = null;
  let summary: string;
  if (kind === PLAIN) summary = head.slice(at);
  else {
    const index = head.slice(at, at = head.indexOf(" ", at));
    const idLength = Number(head.slice(++at, at = head.indexOf(" ", at)));
    const summaryLength = Number(head.slice(++at, at = head.indexOf(" ", at)));
    const bodyLength = Number(head.slice(++at, at = head.indexOf(" ", at)));
    const groupId = head.slice(++at, at += idLength);
    summary = head.slice(at, at += summaryLength);
    const body = bodyLength < 0 ? null : head.slice(at, at += bodyLength);
    chord = { groupId, groupIndex: index === "" ? null : Number(index), body, result: head.slice(at) };
  }
  return {
    seq: Number(head.slice(1, second - 1)),
    kind: "success",
    state: "SUCCESS",
    document: documentOf(frame, head.charCodeAt(third) - ZERO),
    runtime: Number(head.slice(second, third - 1)),
    summary,
    exception: "",
    traceback: null,
    expected: false,
    requeue: false,
    chord,
    also: null,
  };
}

const [PLAIN, COUNTED, ZERO] = [80, 67, 48];

function longOutcome(head: LongHead, frame: Frame): Outcome {
  return {
    seq: head[0],
    kind: head[1],
    state: head[2],
    document: documentOf(frame, head[10]),
    runtime: head[3],
    summary: head[4],
    exception: head[5],
    traceback: head[6],
    expected: head[7],
    requeue: head[8],
    chord: head[9],
    also: head[11] === 0 ? null : head[11].map(alsoFromJson),
  };
}

function documentOf(frame: Frame, form: number): string | Uint8Array | null {
  return form === 0 ? null : form === 1 ? frame.text : frame.tail ?? new Uint8Array(0);
}

/** A step that fails with its chain, as JSON: a document of bytes is base64, marked by the flag. */
type AlsoJson = [string, string, string | null, boolean, OutcomeChord | null, string | null];

function alsoToJson({ taskId, state, document, chord, replyTo }: AlsoFailed): AlsoJson {
  const isBytes = document instanceof Uint8Array;
  return [taskId, state, isBytes ? document.toBase64() : document, isBytes, chord, replyTo];
}

function alsoFromJson([taskId, state, text, isBytes, chord, replyTo]: AlsoJson): AlsoFailed {
  const document = isBytes ? Uint8Array.fromBase64(text ?? "") : text;
  return { taskId, state, document, chord, replyTo };
}

/** The task of a log line, as JSON. */
export type LabelJson = readonly [
  name: string,
  id: string,
  traceparent: string | null,
  caller?: LogTask["caller"],
];

/** Encodes the task of a log line. */
export function labelToJson({ name, id, traceparent = null, caller }: LogTask): LabelJson {
  return caller ? [name, id, traceparent, caller] : [name, id, traceparent];
}

/** Decodes the task of a log line. */
export function labelFromJson([name, id, traceparent, caller = null]: LabelJson): LogTask {
  return { name, id, traceparent, caller };
}

/** A batch that a task publishes. `id` comes back in the answer; `handOn` as in `RunnerHost.publish`. */
export interface SlotPublish {
  readonly id: number;
  readonly batch: readonly OutgoingMessage[];
  readonly handOn: boolean;
}

/**
 * Queues that a slot has sent with its publishes. A queue is sent once, with the first message that is routed
 * to it.
 */
export class SentQueues {
  readonly #sent = new Map<string, Queue>();

  /** Returns the queue to send with a message; null if it has none or its queue was sent before. */
  take({ exchange, routingKey, queue }: OutgoingMessage): Queue | null {
    if (!queue) return null;
    const key = `${exchange}\n${routingKey}`;
    if (this.#sent.get(key) === queue) return null;
    this.#sent.set(key, queue);
    return queue;
  }
}

/** Appends a frame with a batch that a task publishes. */
export function appendPublish(
  writer: FrameWriter,
  { id, batch, handOn }: SlotPublish,
  queues: SentQueues,
): void {
  const heads: unknown[] = [];
  const parts: Uint8Array[] = [];
  let text = "", tailBytes = 0;
  for (const out of batch) {
    const { body, ...rest } = out.message;
    const head: unknown[] = [out.exchange, out.routingKey, rest, typeof body === "string", body.length];
    const queue = queues.take(out);
    if (queue !== null) head.push(out.isMandatory === true, queue);
    else if (out.isMandatory) head.push(true);
    heads.push(head);
    if (typeof body === "string") text += body;
    else {
      parts.push(body);
      tailBytes += body.length;
    }
  }
  let tail: Uint8Array | null = null;
  if (parts.length === 1) tail = parts[0]!;
  else if (tailBytes > 0) {
    tail = new Uint8Array(tailBytes);
    let at = 0;
    for (const part of parts) {
      tail.set(part, at);
      at += part.length;
    }
  }
  writer.append(FRAME.publish, toJson([id, heads, handOn]), text, tail);
}

/** Decodes a publish frame. */
export function decodePublish(frame: Frame): SlotPublish {
  type Head = [string, string, Omit<OutgoingMessage["message"], "body">, boolean, number, boolean?, Queue?];
  const [id, heads, handOn] = fromPassedOnJson(frame.head) as [number, Head[], boolean];
  const batch: OutgoingMessage[] = [];
  let textAt = 0, tailAt = 0;
  for (const [exchange, routingKey, rest, isText, length, isMandatory = false, queue = null] of heads) {
    let body: string | Uint8Array;
    if (isText) body = frame.text.slice(textAt, textAt += length);
    else if (length === frame.tail?.length) body = frame.tail;
    else body = (frame.tail ?? new Uint8Array(0)).slice(tailAt, tailAt += length);
    batch.push({ exchange, routingKey, message: { ...rest, body }, queue, isMandatory });
  }
  return { id, batch, handOn };
}
