/**
 * Shared by the stores that count chords: the documents of members and of saved groups, and the join of a
 * header that holds groups, whose structure a flat list of members would lose.
 *
 * Source: celery 5.2.6 backends/redis.py RedisBackend.on_chord_part_return, _unpack_chord_result; backends/base.py
 * BaseKeyValueStoreBackend._save_group, _restore_group; result.py GroupResult.join_native.
 */

import { type Clock, OperatingError, quoted } from "../base/mod.ts";
import {
  contentOf,
  decodeException,
  deserialize,
  EXCEPTION_STATES,
  fromCarriedJsonList,
  fromJson,
  PROPAGATE_STATES,
  READY_STATES,
  type ResultMeta,
  type ResultTuple,
  revived,
  serialize,
  toJson,
} from "../wire/mod.ts";
import type { Backend, BackendOptions, ChordMember, ChordPart } from "./backend.ts";

/** Celery's `result_chord_join_timeout`, milliseconds. */
const JOIN_TIMEOUT_MS = 3000;
const JOIN_POLL_FIRST_MS = 5;
const JOIN_POLL_MAX_MS = 500;

/**
 * Seconds for which a chord that has ended is remembered: Celery's client builds canvases that send a header
 * again under the same ids, and its members must not send the body again.
 */
export const ENDED_SECONDS = 300;
/** The owner of a chord that has ended; no task has this id. */
export const ENDED = "";

/** How documents of a store are encoded. */
export type Codec = Pick<BackendOptions, "serializer" | "accept">;

/** Whether a serializer's documents are text. */
export function isTextSerializer(serializer: string): boolean {
  return serializer !== "msgpack" && serializer !== "application/x-msgpack" && serializer !== "cbor" &&
    serializer !== "application/cbor";
}

/** The error of a complete header if a member's result does not reach the store in time. */
export class HeaderJoinTimeout extends OperatingError {}

/**
 * Encodes a finished member as Celery does: `[1, "<task id>", "<state>", <value or exception>]`. Celery
 * ignores the first element, so a traced member has its span there in JSON.
 */
export function encodeChordMember(part: ChordPart, serializer: string): string | Uint8Array {
  if (isJson(serializer)) {
    const first = part.traceparent === undefined ? "1" : quoted(part.traceparent);
    return `[${first},${quoted(part.taskId)},${quoted(part.state)},${part.result}]`;
  }
  return serialize([1, part.taskId, part.state, fromJson(part.result)], serializer).body;
}

/** Returns a member's JSON without its span, which differs between two runs of a task. */
export function untraced(member: string): string {
  return member.replace(/^\["[^"]*",/, "[1,");
}

/** Decodes members written by `encodeChordMember` or Python. */
function decodeChordMembers(documents: readonly (string | Uint8Array)[], codec: Codec): ChordMember[] {
  const areTexts = isJson(codec.serializer) && documents.every((document) => typeof document === "string");
  const tuples = areTexts
    ? fromCarriedJsonList(documents as readonly string[])
    : documents.map((document) => decode(document, codec));
  return tuples.map(memberOf);
}

function memberOf(tuple: unknown): ChordMember {
  if (!Array.isArray(tuple) || tuple.length < 4 || typeof tuple[1] !== "string") {
    throw new OperatingError("A chord's member in the result store is not a list of four values");
  }
  const traceparents = typeof tuple[0] === "string" ? [tuple[0]] : NO_TEXTS;
  return chordMember(tuple[1], String(tuple[2]), { value: tuple[3], traceparents });
}

/** Returns a member, from the value in its document. */
function chordMember(
  taskId: string,
  state: string,
  { value, traceparents }: { readonly value: unknown; readonly traceparents: readonly string[] },
): ChordMember {
  if (!EXCEPTION_STATES.has(state)) return { taskId, state, result: value, sentErrbacks: NONE, traceparents };
  const sent = (value as Record<string, unknown> | null)?.[SENT_ERRBACKS];
  return {
    taskId,
    state,
    result: decodeException(revived(value)),
    sentErrbacks: Array.isArray(sent) ? sent : NONE,
    traceparents,
  };
}

const NONE: readonly unknown[] = [];
const NO_TEXTS: readonly string[] = [];
/** The field of a member's exception that lists the errbacks that were called. Celery ignores it. */
const SENT_ERRBACKS = "told_errbacks";

/** Returns the exception of a chord's member with the errbacks that were called. */
export function withSentErrbacks(exception: object, errbacks: readonly unknown[]): object {
  return errbacks.length === 0 ? exception : { ...exception, [SENT_ERRBACKS]: errbacks };
}

/** Encodes a saved group: `{"result": <tuple>}`. `tuple` is JSON text. */
export function encodeGroup(tuple: string, serializer: string): string | Uint8Array {
  if (isJson(serializer)) return `{"result": ${tuple}}`;
  return serialize({ result: fromJson(tuple) }, serializer).body;
}

/** Decodes a saved group's tuple to JSON text. Throws OperatingError if there is none. */
export function decodeGroup(document: string | Uint8Array, codec: Codec): string {
  const group = decode(document, codec);
  const tuple = typeof group === "object" && group !== null
    ? (group as Record<string, unknown>)["result"]
    : null;
  if (!Array.isArray(tuple)) {
    throw new OperatingError("A saved group in the result store has no result tuple");
  }
  return toJson(tuple);
}

/**
 * Resolves with the members of a header that was saved as a group; nested groups become lists. Waits at most
 * 3 s until every task is ready, then rejects with HeaderJoinTimeout, as Celery's join does. A nested group
 * with a failed task becomes that failure.
 */
async function joinHeader(
  tuple: string,
  spans: ReadonlyMap<string, string>,
  { fetchMany, clock }: { readonly fetchMany: Backend["fetchMany"]; readonly clock: Clock },
): Promise<ChordMember[]> {
  const [, children] = fromJson(tuple) as ResultTuple;
  const ids: string[] = [];
  for (const child of children ?? []) leaves(child, ids);
  const metas = new Map<string, ResultMeta>();
  const end = clock.monoMs() + JOIN_TIMEOUT_MS;
  let pauseMs = JOIN_POLL_FIRST_MS;
  for (;;) {
    const missing = ids.filter((id) => !metas.has(id));
    if (missing.length === 0) break;
    const found = await fetchMany(missing, true);
    found.forEach((meta, n) => {
      if (meta && READY_STATES.has(meta.state)) metas.set(missing[n]!, meta);
    });
    if (metas.size === new Set(ids).size) break;
    if (clock.monoMs() >= end) throw new HeaderJoinTimeout("The operation timed out.");
    await clock.sleep(pauseMs);
    pauseMs = Math.min(JOIN_POLL_MAX_MS, pauseMs * 2);
  }
  return (children ?? []).map((child) => joined(child, metas, spans));
}

function leaves(tuple: ResultTuple, into: string[]): void {
  const [[id], children] = tuple;
  if (children === null) into.push(id);
  else for (const child of children) leaves(child, into);
}

function joined(
  tuple: ResultTuple,
  metas: ReadonlyMap<string, ResultMeta>,
  spans: ReadonlyMap<string, string>,
): ChordMember {
  const [[id], children] = tuple;
  if (children === null) {
    const { state, result } = metas.get(id)!;
    const span = spans.get(id);
    const traceparents = span === undefined ? NO_TEXTS : [span];
    return { taskId: id, state, result, sentErrbacks: NONE, traceparents };
  }
  const members = children.map((child) => joined(child, metas, spans));
  const failed = members.find((member) => PROPAGATE_STATES.has(member.state));
  return failed ?? {
    taskId: id,
    state: "SUCCESS",
    result: members.map((member) => member.result),
    sentErrbacks: NONE,
    traceparents: members.flatMap((member) => member.traceparents),
  };
}

/** Returns the spans of traced members by task id; decodes only these. */
function spansOf(documents: readonly (string | Uint8Array)[]): ReadonlyMap<string, string> {
  const traced = documents.filter((document) => typeof document === "string" && document.startsWith('["'));
  return new Map(
    fromCarriedJsonList(traced as readonly string[]).map((tuple) => {
      const { taskId, traceparents } = memberOf(tuple);
      return [taskId, traceparents[0]!];
    }),
  );
}

function isJson(serializer: string): boolean {
  return serializer === "json" || serializer === "application/json";
}

function decode(document: string | Uint8Array, codec: Codec): unknown {
  if (isJson(codec.serializer) && typeof document === "string") return fromJson(document);
  const [type, encoding] = contentOf(codec.serializer);
  return deserialize(document, type, encoding, codec.accept);
}

/**
 * Resolves with the members of a complete header: from the counted documents, or from the results if the
 * header holds groups. Rejects as `joinHeader` does.
 */
export async function headerMembers(
  store: Pick<Backend, "fetchGroup" | "fetchMany">,
  groupId: string,
  documents: readonly (string | Uint8Array)[],
  codec: Codec,
  clock: Clock,
): Promise<ChordMember[]> {
  const tuple = await store.fetchGroup(groupId);
  if (tuple !== null) {
    const fetchMany = (ids: readonly string[]) => store.fetchMany(ids, true);
    return await joinHeader(tuple, spansOf(documents), { fetchMany, clock });
  }
  return decodeChordMembers(documents, codec);
}
