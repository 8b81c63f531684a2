/**
 * The checks of a sandbox's reports. Accepted are a task's own outcome, its own states, events and log lines,
 * and messages to tasks that its permissions name. User code in the isolate may forge any report, so each one
 * is compared with the message that the task was given. An invalid report throws.
 */

import { Glob, isRecord, type Level, LEVELS } from "../../base/mod.ts";
import { type Accept, acceptedTypes, type EncodedMessage, fromPlainJson, toJson } from "../../wire/mod.ts";
import type { OutgoingMessage, Queue } from "../../transport/mod.ts";
import type { AppCore } from "../core.ts";
import type { AlsoFailed, Outcome, OutcomeChord, OutcomeKind } from "../call/outcome.ts";
import type { Run } from "./run.ts";
import { callsOfMessage, callsOfTask, type TaskCall } from "./task_calls.ts";
import type { TaskPermissions } from "../conf/task_options.ts";
import { alsoFailed } from "./trace_outcome.ts";

/** The state that is stored with each kind of outcome. */
const STATES: Readonly<Partial<Record<OutcomeKind, string | null>>> = {
  success: "SUCCESS",
  failure: "FAILURE",
  retry: "RETRY",
  ignore: null,
  reject: "FAILURE",
  terminated: null,
  timeout: null,
  lost: null,
};
/** Headers through which RabbitMQ routes a message to further queues. */
const MORE_ROUTES = ["CC", "BCC"];

/** The error of a message that the task's permissions do not allow. */
class NotPermitted extends Error {
  override name = "NotCapable";
}

/** Decides which messages the tasks of one sandbox may send. */
export class SendGuard {
  readonly #accept: Accept;
  readonly #isOpen: boolean;
  readonly #names: ReadonlySet<string>;
  readonly #patterns: readonly Glob[];
  /**
   * Reserved names: remote control's, also as a suffix after a dot, and those of events, also as a prefix
   * before a dot.
   */
  readonly #control: string;
  readonly #events: readonly string[];
  readonly #app: AppCore;

  /** `permissions` null: everything that the worker may send. */
  constructor(app: AppCore, permissions: TaskPermissions | null) {
    const { accept_content, control_exchange, event_exchange, event_queue_prefix } = app.conf;
    this.#app = app;
    this.#accept = acceptedTypes(accept_content);
    const send = permissions === null ? true : permissions.send ?? false;
    this.#isOpen = send === true;
    const names = typeof send === "boolean" ? [] : send;
    this.#names = new Set(names);
    this.#patterns = names.filter((name) => /[*?[]/.test(name)).map((name) => new Glob(name));
    this.#control = `${control_exchange}.pidbox`.toLowerCase();
    this.#events = [event_exchange, event_queue_prefix].map((name) => name.toLowerCase());
  }

  /**
   * Throws NotPermitted for a message that none of these runs may send: one to a task that the permissions do
   * not name, unless it is the run itself, again, or is named by the run's own message (callbacks, the next
   * steps of its chain). Returns the messages with the worker's own definitions of their queues, since the
   * worker may declare these.
   */
  checked(batch: readonly OutgoingMessage[], runs: Iterable<Run>): OutgoingMessage[] {
    if (batch.length === 0) throw new NotPermitted("There is nothing to send");
    const own: TaskCall[][] = [];
    for (const run of runs) own.push(callsOfTask({ task: run.name, id: run.id }, run.body));
    for (const out of batch) {
      checkMessage(out.message);
      this.#checkRoute(out);
      for (const call of callsOfMessage(out.message, this.#accept)) {
        if (this.#isNamed(call.name) || own.some((calls) => calls.some((one) => isOf(call, one)))) continue;
        throw new NotPermitted(
          `Requires send access to "${call.name}": name it in the permissions of the task, { send: ["${call.name}"] }`,
        );
      }
    }
    return batch.map((out) => ({ ...out, queue: this.#ownQueue(out.queue ?? null) }));
  }

  /**
   * Replaces a queue from the sandbox by the worker's own. The broker declares and binds the queue of a
   * message, and a queue defined by the sandbox could receive copies of other tasks, or expire messages.
   */
  #ownQueue(given: Queue | null): Queue | null {
    if (given === null) return null;
    const own = this.#app.amqp.queues.wouldBe(given.alias ?? given.name);
    // The queue of a broadcast has another name in each process.
    if (own !== null && toJson({ ...given, name: own.name }) === toJson(own)) return own;
    throw new NotPermitted(
      `Cannot send to queue "${given.name}": it differs from the worker's queue of that name`,
    );
  }

  #isNamed(name: string): boolean {
    return this.#isOpen || this.#names.has(name) || this.#patterns.some((pattern) => pattern.test(name));
  }

  #isReserved(place: string): boolean {
    const isControl = place === this.#control || place.endsWith(`.${this.#control}`);
    return isControl || this.#events.some((name) => place === name || place.startsWith(`${name}.`));
  }

  #checkRoute({ exchange, routingKey, queue, message }: OutgoingMessage): void {
    const places = [
      exchange,
      routingKey,
      ...queue ? [queue.name, queue.alias ?? queue.name, queue.routingKey, queue.exchange.name] : [],
    ];
    for (const place of places) {
      if (typeof place !== "string" || this.#isReserved(place.toLowerCase())) {
        throw new NotPermitted(`Cannot send a task to "${place}": it is not for tasks`);
      }
    }
    for (const name of MORE_ROUTES) {
      if (Object.hasOwn(message.headers, name)) throw new NotPermitted(`Cannot send the header "${name}"`);
    }
  }
}

/** Throws if a message does not have the shape that the worker's own code makes. */
function checkMessage(
  { body, bodyEncoding, contentType, contentEncoding, headers, properties }: EncodedMessage,
): void {
  const isBody = typeof body === "string" || body instanceof Uint8Array;
  const isTyped = typeof contentType === "string" && typeof contentEncoding === "string";
  const isEncoded = bodyEncoding === "base64" || bodyEncoding === "none";
  if (!isBody || !isTyped || !isEncoded || !isRecord(headers) || !isRecord(properties)) {
    throw wrong("message");
  }
  const { correlationId, replyTo, deliveryMode, priority, expiration, rest } = properties;
  const areTexts = [correlationId, replyTo, expiration].every((one) =>
    one === null || typeof one === "string"
  );
  const isRest = rest === null || isRecord(rest);
  if (!areTexts || !isRest || !Number.isInteger(priority) || !Number.isInteger(deliveryMode)) {
    throw wrong("message");
  }
}

/** Returns true if a call is one that the run was given. */
function isOf(call: TaskCall, given: TaskCall): boolean {
  return call.name === given.name && (call.id === null || given.id === null || call.id === given.id);
}

/** Returns a run's outcome with checked values. Throws if it is invalid. */
export function checkedOutcome(run: Run, reported: Outcome): Outcome {
  const { kind, document } = reported;
  if (!Object.hasOwn(STATES, kind)) throw wrong("end");
  if (reported.state !== null && reported.state !== STATES[kind]) throw wrong("state");
  if (document !== null && typeof document !== "string" && !(document instanceof Uint8Array)) {
    throw wrong("document");
  }
  return {
    seq: reported.seq,
    kind,
    state: document === null ? null : reported.state,
    document: reported.state === null ? null : document,
    runtime: Number.isFinite(reported.runtime) ? reported.runtime : 0,
    summary: text(reported.summary),
    exception: text(reported.exception),
    traceback: reported.traceback === null ? null : text(reported.traceback),
    expected: reported.expected === true,
    requeue: reported.requeue === true,
    chord: ownChord(run, reported.chord),
    also: kind === "failure" || kind === "reject" ? ownSteps(run, reported.also ?? null) : null,
  };
}

/** Returns a state's name. Throws if it is not a text. */
export function checkedState(state: unknown): string {
  return text(state);
}

/** Returns an event's type and fields. Throws if they are invalid, or if the type is one of worker events. */
export function checkedEvent(type: unknown, fields: unknown): [string, Record<string, unknown>] {
  if (typeof type !== "string" || type.startsWith("worker-") || !isRecord(fields)) throw wrong("event");
  return [type, fields];
}

/** Returns a log level. Throws if it is invalid. */
export function checkedLevel(level: unknown): Level {
  if (typeof level !== "string" || !Object.hasOwn(LEVELS, level)) throw wrong("level");
  return level as Level;
}

/** Takes only the result from the report; the rest of a chord's part comes from the run. */
function ownChord(run: Run, reported: OutcomeChord | null): OutcomeChord | null {
  if (reported === null || run.chord === null || run.group === null) return null;
  fromPlainJson(text(reported.result));
  return {
    groupId: run.group,
    groupIndex: run.groupIndex,
    body: reported.body === null ? null : toJson(run.chord),
    result: reported.result,
  };
}

/** Returns the steps that fail with the run. Throws for one that is not in its message. */
function ownSteps(run: Run, reported: readonly AlsoFailed[] | null): AlsoFailed[] | null {
  const chain = run.body.embed.chain?.all() ?? null;
  if (reported === null || chain === null) return null;
  const style = { serializer: "json", now: () => 0 };
  const exception = { excType: "Error", excModule: null, args: [] };
  const steps = alsoFailed(
    style,
    chain,
    { exception, traceback: null, state: "FAILURE", isStored: false },
    false,
  );
  const byId = new Map(steps?.map((step) => [step.taskId, step]));
  const own: AlsoFailed[] = [];
  for (const { taskId, document, chord } of reported) {
    const step = byId.get(taskId);
    if (step === undefined) throw wrong("step");
    if (chord !== null) fromPlainJson(text(chord.result));
    const result = chord?.result ?? step.chord?.result ?? "null";
    own.push({ ...step, document, chord: step.chord === null ? null : { ...step.chord, result } });
  }
  return own;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw wrong("text");
  return value;
}

function wrong(what: string): Error {
  return new Error(`The sandbox has reported an invalid ${what}`);
}
