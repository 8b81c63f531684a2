/**
 * The end of a chord's header, seen from the worker's main isolate: count a finished member, and when it was the last
 * one, send the body or fail it.
 *
 * Source: celery 5.2.6 backends/redis.py on_chord_part_return, backends/base.py chord_error_from_stack; 5.6 for bodies
 * that are groups; protocol.md 4.6, 8.8.
 */

import {
  type Backend,
  type ChordMember,
  type ChordPart,
  type CompleteHeader,
  HeaderJoinTimeout,
} from "../backend/mod.ts";
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
} from "../canvas/mod.ts";
import {
  ChordError,
  type EncodedMessage,
  encodeException,
  exceptionRepr,
  fromWireException,
  PROPAGATE_STATES,
  type ResultTuple,
  TimeoutError,
  toJson,
  toWireException,
  type WireException,
  type WireSignature,
} from "../wire/mod.ts";
import type { App } from "./app.ts";
import { applySignature, canvasSender } from "./canvas_send.ts";
import { runOutsideTasks } from "./current_task.ts";
import { sendErrbacks } from "./dispatch.ts";
import type { OutcomeChord } from "./outcome.ts";
import { directRequest } from "./task_options.ts";
import { alsoFailed, errorFacts } from "./trace_outcome.ts";
import { decodeForParent } from "./trace_parent.ts";

/** A member that has ended. */
export interface FinishedPart {
  readonly taskId: string;
  /** Root of its tree; the body's, when this member is the last. */
  readonly rootId: string | null;
  readonly state: string;
  readonly chord: OutcomeChord;
  /** Its message, where `chord` leaves the body in it. */
  readonly message: EncodedMessage | null;
}

/**
 * Counts finished header tasks after their own results are stored. Where one completes a header, publishes the body
 * with the list of results, or stores ChordError for it and publishes its errbacks. Nothing where the store cannot
 * count (`celery.chord_unlock` polls there). `onDone` hears of each part that is counted and, where it was the last,
 * has brought its chord to its end: a message kept longer could be run again and counted into a chord that is over.
 * Rejects only where the store does; the caller counts again then.
 */
export async function completeChords(
  app: App,
  backend: Backend,
  parts: readonly FinishedPart[],
  onDone: (part: FinishedPart) => void = () => {},
): Promise<void> {
  if (!backend.countsChords) return parts.forEach(onDone);
  if (parts.length === 0) return;
  const finished = new Map<ChordPart, FinishedPart>();
  for (const part of parts) {
    const { groupId, groupIndex, result } = part.chord;
    finished.set({ groupId, groupIndex, taskId: part.taskId, state: part.state, result }, part);
  }
  const headers = await backend.countChordParts([...finished.keys()]);
  const last = new Set(headers.map((header) => finished.get(header.part)!));
  for (const part of parts) if (!last.has(part)) onDone(part);
  // Each is brought to its end, whatever becomes of the others.
  const ends = await Promise.allSettled(headers.map(async (header) => {
    const part = finished.get(header.part)!;
    await runOutsideTasks(() => completeHeader(app, backend, part, header));
    onDone(part);
  }));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

async function completeHeader(
  app: App,
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
    const repr = exceptionRepr(toWireException(new TimeoutError(error.message), ""));
    return await failChord(app, backend, part.chord.groupId, wire, new ChordError(`Join error: ${repr}`));
  }
  if (members !== null) await finishChord(app, backend, part, { wire, members });
}

function bodyOf(app: App, { chord, message }: FinishedPart): WireSignature | null {
  if (chord.body !== null) return JSON.parse(chord.body) as WireSignature;
  return message === null ? null : decodeForParent(app, message).body?.embed.chord ?? null;
}

async function finishChord(
  app: App,
  backend: Backend,
  part: FinishedPart,
  chord: { wire: WireSignature; members: ChordMember[] },
): Promise<void> {
  const { groupId } = part.chord;
  const failed = chord.members.find((member) => PROPAGATE_STATES.has(member.state));
  if (failed) {
    const exception = failed.result as WireException;
    const reason = `Dependency ${failed.taskId} raised ${exceptionRepr(exception)}`;
    const culprit = fromWireException(exception);
    return await failChord(app, backend, groupId, chord.wire, new ChordError(reason), culprit);
  }
  try {
    const results = chord.members.map((member) => member.result);
    await sendChordBody(app, chord.wire, results, { parentId: part.taskId, rootId: part.rootId });
  } catch (error) {
    const repr = exceptionRepr(toWireException(error, ""));
    await failChord(app, backend, groupId, chord.wire, new ChordError(`Callback error: ${repr}`));
  } finally {
    await backend.endChord(groupId);
  }
}

/** Publishes a chord's body with the list of its header's results. */
export async function sendChordBody(
  app: App,
  wire: WireSignature,
  results: readonly unknown[],
  from: { parentId: string | null; rootId: string | null },
): Promise<void> {
  const body = toSignature(wire, canvasSender(app));
  const options: Record<string, string> = {};
  // A chain begins under what sends it, whatever parent its own options name, as in Celery.
  const isFree = !body.options.parentId || body instanceof Chain;
  if (from.parentId !== null && isFree) options["parentId"] = from.parentId;
  if (from.rootId !== null && !body.options.rootId) options["rootId"] = from.rootId;
  await applySignature(app, body, [results], {}, options);
}

/**
 * Ends a chord whose body will not run: its errbacks are published, and whoever waits for the body gets `error`. An
 * outer chord that waits for the body counts it as failed. Never rejects for errbacks; logged instead. `culprit` is
 * the error of the member that failed.
 */
export async function failChord(
  app: App,
  backend: Backend,
  groupId: string,
  wire: WireSignature,
  error: ChordError,
  culprit: Error | null = null,
): Promise<void> {
  let facts = errorFacts(error, wire.task);
  app.world.log.error(`Chord '${groupId}' raised: ${facts.repr}\n${facts.traceback.trimEnd()}`);
  const body = toSignature(wire, canvasSender(app));
  // A group's results have no header above them that a client would look at: they say what failed themselves.
  if (culprit !== null && endsInGroup(body)) {
    facts = { ...errorFacts(culprit, wire.task), traceback: facts.traceback };
  }
  const children = new Map<string, ResultTuple[]>();
  try {
    await tellErrbacks(app, body, { exception: facts.exception, traceback: facts.traceback, children });
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
    const result = toJson(encodeException(facts.exception));
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
 * The errbacks of a body that will not run, each with the id its result would have had. What was sent is noted among
 * the children of that result.
 */
async function tellErrbacks(
  app: App,
  body: Signature,
  told: { exception: WireException; traceback: string; children: Map<string, ResultTuple[]> },
): Promise<void> {
  // Those of a group are on its members, for each of which a result is waited for.
  if (body instanceof Group) {
    for (const member of body.tasks) await tellErrbacks(app, member, told);
    return;
  }
  const id = lastId(body);
  const errbacks = optionList<SignatureLike>(body.options.linkError).map(toWire);
  if (id === null || errbacks.length === 0) return;
  const rootId = body.options.rootId ?? id;
  const request = () => ({
    ...directRequest(body.task, [...body.args], { ...body.kwargs }, id),
    ...{ rootId, errbacks, calledDirectly: false },
  });
  const failure = { request, error: fromWireException(told.exception), traceback: told.traceback };
  const sent = await sendErrbacks(app, { id, rootId, priority: null }, errbacks, failure);
  if (sent !== null) told.children.set(id, [sent]);
}

/** The id of the result that a signature has in the end; a group has none. */
function lastId(signature: Signature): string | null {
  if (signature instanceof Chain) {
    const last = signature.tasks.at(-1);
    return last === undefined ? null : lastId(last);
  }
  if (signature instanceof Chord) return signature.body === null ? null : lastId(signature.body);
  return signature.id;
}
