/**
 * The end of a chord's header, as the worker's main isolate handles it: counts a finished member and, after
 * the last one, sends the body or fails it.
 *
 * Source: celery 5.2.6 backends/redis.py on_chord_part_return, backends/base.py chord_error_from_stack; 5.6
 * for bodies that are groups; protocol.md 4.6, 8.8.
 */

import {
  type Backend,
  type ChordMember,
  type ChordPart,
  type CompleteHeader,
  HeaderJoinTimeout,
  withSentErrbacks,
} from "../../backend/mod.ts";
import {
  Chain,
  Chord,
  endsInGroup,
  Group,
  optionList,
  type Signature,
  type SignatureLike,
  toSignature,
  toWire,
} from "../../canvas/mod.ts";
import {
  ChordError,
  type EncodedMessage,
  encodeException,
  encodeTaskMessage,
  exceptionRepr,
  fromCarriedJson,
  fromWireException,
  PROPAGATE_STATES,
  type ResultTuple,
  TimeoutError,
  toJson,
  toWireException,
  type WireException,
  type WireSignature,
} from "../../wire/mod.ts";
import { type Carrier, carrierOf, linksTo } from "../../trace/mod.ts";
import type { AppCore } from "../core.ts";
import { applySignature, canvasSender } from "../send/canvas_send.ts";
import { runOutsideTasks } from "../call/current_task.ts";
import { callErrbacks, hasCalledErrbacks, sendErrbacks } from "./dispatch.ts";
import type { OutcomeChord } from "../call/outcome.ts";
import { directRequest } from "../conf/task_options.ts";
import { alsoFailed, errorFacts } from "./trace_outcome.ts";
import { decodeForParent } from "./trace_parent.ts";

/** A member of a header that has ended. */
export interface FinishedPart {
  readonly taskId: string;
  /** The root id of its tree; also that of the body, if this member is the last. */
  readonly rootId: string | null;
  readonly state: string;
  readonly chord: OutcomeChord;
  /** Its message, if `chord` does not contain the body. */
  readonly message: EncodedMessage | null;
}

/**
 * Counts finished header tasks after their results have been stored. When a header is complete, publishes the
 * body with the list of results, or stores ChordError for the body and publishes its errbacks. Counts nothing
 * if the store cannot count (then `celery.chord_unlock` polls). Calls `onDone` for each part that has been
 * counted and, if it was the last, whose chord has been ended: a message kept until then could run again, but
 * one kept longer would be counted for an ended chord. Rejects only with the store's error; then the caller
 * counts again.
 */
export async function completeChords(
  app: AppCore,
  backend: Backend,
  parts: readonly FinishedPart[],
  onDone: (part: FinishedPart) => void = () => {},
): Promise<void> {
  if (!backend.countsChords) return parts.forEach(onDone);
  if (parts.length === 0) return;
  const finished = new Map<ChordPart, FinishedPart>();
  for (const part of parts) {
    const { groupId, groupIndex, result, traceparent } = part.chord;
    finished.set({ groupId, groupIndex, taskId: part.taskId, state: part.state, result, traceparent }, part);
  }
  const headers = await backend.countChordParts([...finished.keys()]);
  const last = new Set(headers.map((header) => finished.get(header.part)!));
  for (const part of parts) if (!last.has(part)) onDone(part);
  // Complete each header, even if another one fails.
  const ends = await Promise.allSettled(headers.map(async (header) => {
    const part = finished.get(header.part)!;
    await runOutsideTasks(() => completeHeader(app, backend, part, header));
    onDone(part);
  }));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

async function completeHeader(
  app: AppCore,
  backend: Backend,
  part: FinishedPart,
  header: CompleteHeader,
): Promise<void> {
  const wire = bodyOf(app, part);
  if (wire === null) return;
  let members: ChordMember[] | null;
  try {
    members = await header.members();
  } catch (error) {
    if (!(error instanceof HeaderJoinTimeout)) throw error;
    const reason = `Join error: ${exceptionRepr(toWireException(new TimeoutError(error.message), ""))}`;
    return await failChord(app, backend, { groupId: part.chord.groupId, wire, reason });
  }
  if (members !== null) await finishChord(app, backend, part, { wire, members });
}

function bodyOf(app: AppCore, { chord, message }: FinishedPart): WireSignature | null {
  if (chord.body !== null) return fromCarriedJson(chord.body) as WireSignature;
  return message === null ? null : decodeForParent(app, message).body?.embed.chord ?? null;
}

async function finishChord(
  app: AppCore,
  backend: Backend,
  part: FinishedPart,
  chord: { wire: WireSignature; members: ChordMember[] },
): Promise<void> {
  const { groupId } = part.chord;
  const failed = chord.members.find((member) => PROPAGATE_STATES.has(member.state));
  if (failed) {
    const exception = failed.result as WireException;
    const reason = `Dependency ${failed.taskId} raised ${exceptionRepr(exception)}`;
    const memberError = fromWireException(exception);
    const sentErrbacks = chord.members.flatMap((member) => member.sentErrbacks);
    return await failChord(app, backend, { groupId, wire: chord.wire, reason, memberError, sentErrbacks });
  }
  try {
    const results = chord.members.map((member) => member.result);
    const traceparents = chord.members.flatMap((member) => member.traceparents);
    const carrier = carrierOfBody(part, traceparents);
    await sendChordBody(app, chord.wire, results, { parentId: part.taskId, rootId: part.rootId, carrier });
  } catch (error) {
    const reason = `Callback error: ${exceptionRepr(toWireException(error, ""))}`;
    await failChord(app, backend, { groupId, wire: chord.wire, reason });
  } finally {
    await backend.endChord(groupId);
  }
}

/** Returns the body's trace: it continues that of the last member, and links to every traced member. */
function carrierOfBody({ message, chord }: FinishedPart, traceparents: readonly string[]): Carrier | null {
  const came = message === null ? null : carrierOf(message.headers);
  const { traceparent } = chord;
  if (traceparent === undefined) return came;
  return { ...came, traceparent, ...linksTo(traceparents) };
}

/** A chord that failed. */
interface FailedChord {
  readonly groupId: string;
  /** Its body. */
  readonly wire: WireSignature;
  /** The text of its ChordError. */
  readonly reason: string;
  /** The error of the member that failed, if one did. */
  readonly memberError?: Error;
  /**
   * Errbacks that were called already for a chord inside this one: Celery's client links an outer chord's
   * errbacks to the inner chord too, and they are called once.
   */
  readonly sentErrbacks?: readonly unknown[];
}

/** Publishes a chord's body with the list of its header's results. Rejects as `applySignature` does. */
export async function sendChordBody(
  app: AppCore,
  wire: WireSignature,
  results: readonly unknown[],
  from: { parentId: string | null; rootId: string | null; carrier?: Carrier | null },
): Promise<void> {
  const body = toSignature(wire, canvasSender(app));
  const options: Record<string, unknown> = {};
  if (from.carrier) options["headers"] = { ...body.options.headers as object, ...from.carrier };
  // The parent of a chain is the task that sends it, whatever its own options say, as in Celery.
  const isFree = !body.options.parentId || body instanceof Chain;
  if (from.parentId !== null && isFree) options["parentId"] = from.parentId;
  if (from.rootId !== null && !body.options.rootId) options["rootId"] = from.rootId;
  await applySignature(app, body, [results], {}, options);
}

/**
 * Ends a chord whose body will not run: publishes the body's errbacks and stores a ChordError as the body's
 * result. If the body is a member of an outer chord, it is counted there as failed. Errors of errbacks are
 * logged. Rejects with the store's error.
 */
export async function failChord(
  app: AppCore,
  backend: Backend,
  { groupId, wire, reason, memberError, sentErrbacks = [] }: FailedChord,
): Promise<void> {
  let facts = errorFacts(new ChordError(reason), wire.task);
  app.world.log.error(`Chord '${groupId}' raised: ${facts.repr}\n${facts.traceback.trimEnd()}`);
  const body = toSignature(wire, canvasSender(app));
  // Clients do not check the parents of a group's results, so these contain the original error.
  if (memberError !== undefined && endsInGroup(body)) {
    facts = { ...errorFacts(memberError, wire.task), traceback: facts.traceback };
  }
  const children = new Map<string, ResultTuple[]>();
  const sentTexts = new Set(sentErrbacks.map(toJson));
  try {
    const { exception, traceback } = facts;
    await sendBodyErrbacks(app, body, { exception, traceback, children, sentTexts });
  } catch (problem) {
    app.world.log.error(`Cannot send errbacks of chord '${groupId}': ${errorFacts(problem, "").repr}`);
  }
  const style = { serializer: app.conf.result_serializer, now: () => app.world.clock.wallMs() };
  const failed = alsoFailed(
    style,
    [body.toJSON()],
    { ...facts, state: "FAILURE", isStored: true, children },
    app.conf.result_extended,
  ) ?? [];
  for (const one of failed) {
    const { taskId, state, document, replyTo } = one;
    if (document !== null) backend.store({ taskId, state, document, guard: true, replyTo }, null);
  }
  await backend.flush();
  const parts: FinishedPart[] = [];
  for (const { taskId, state, chord } of failed) {
    if (chord === null) continue;
    const sentErrbacks = [...sentTexts].map(fromCarriedJson);
    const result = toJson(withSentErrbacks(encodeException(facts.exception), sentErrbacks));
    parts.push({
      taskId,
      rootId: body.options.rootId ?? null,
      state,
      chord: { ...chord, result },
      message: null,
    });
  }
  await completeChords(app, backend, parts);
}

/**
 * Sends the errbacks of a body that will not run, each with the id of the body's result. The sent group is
 * recorded among the children of that result.
 */
async function sendBodyErrbacks(
  app: AppCore,
  body: Signature,
  facts: {
    readonly exception: WireException;
    readonly traceback: string;
    readonly children: Map<string, ResultTuple[]>;
    /** JSON of errbacks that were called for an inner chord, and of those called here. */
    readonly sentTexts: Set<string>;
  },
): Promise<void> {
  // The errbacks of a group are on its members, each of which has a result of its own.
  if (body instanceof Group) {
    const before = [...facts.sentTexts];
    for (const member of body.tasks) {
      const sentTexts = new Set(before);
      await sendBodyErrbacks(app, member, { ...facts, sentTexts });
      for (const text of sentTexts) facts.sentTexts.add(text);
    }
    return;
  }
  const id = lastId(body);
  const all = optionList<SignatureLike>(body.options.linkError).map(toWire);
  const errbacks = all.filter((errback) => !facts.sentTexts.has(toJson(errback)));
  if (id === null || errbacks.length === 0) return;
  for (const errback of errbacks) facts.sentTexts.add(toJson(errback));
  const rootId = body.options.rootId ?? id;
  const { exception, traceback } = facts;
  const thrown = await callBodyErrbacks(app, body, { id, rootId, errbacks, exception, traceback })
    .then(() => null, (error: unknown) => ({ error }));
  const sent = await sendErrbacks(app, { id, rootId, priority: null }, errbacks);
  if (sent !== null) facts.children.set(id, [sent]);
  if (thrown !== null) throw thrown.error;
}

/**
 * Calls those errbacks of a body that are functions: here, or in a slot if this is the worker's main isolate.
 */
async function callBodyErrbacks(
  app: AppCore,
  body: Signature,
  failed: {
    readonly id: string;
    readonly rootId: string;
    readonly errbacks: WireSignature[];
    readonly exception: WireException;
    readonly traceback: string | null;
  },
): Promise<void> {
  const { id, rootId, errbacks, exception, traceback } = failed;
  if (!hasCalledErrbacks(app, errbacks)) return;
  const args = [...body.args], kwargs = { ...body.kwargs };
  if (app.callElsewhere === null) {
    const request = () => ({
      ...directRequest(body.task, args, kwargs, id),
      ...{ rootId, errbacks, calledDirectly: false },
    });
    return await callErrbacks(app, errbacks, { request, error: fromWireException(exception), traceback });
  }
  const message = encodeTaskMessage(
    {
      ...{ task: body.task, id, rootId, args, kwargs, embed: { errbacks } },
      ...{ origin: null, replyTo: null, priority: 0, deliveryMode: 1 },
    },
    { serializer: app.conf.task_serializer, compression: null, protocol: 2, bodyEncoding: "base64" },
  );
  app.callElsewhere(message, { exception, traceback, hooks: "none" });
}

/** Returns the id of a signature's final result, or null. A group has none. */
function lastId(signature: Signature): string | null {
  if (signature instanceof Chain) {
    const last = signature.tasks.at(-1);
    return last === undefined ? null : lastId(last);
  }
  if (signature instanceof Chord) return signature.body === null ? null : lastId(signature.body);
  return signature.id;
}
