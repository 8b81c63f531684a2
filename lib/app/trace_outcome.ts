/**
 * Outcomes and result documents of what a task came to.
 *
 * Source: celery 5.2.6 backends/base.py _get_result_meta, mark_as_failure, app/trace.py; protocol.md 4.2, 4.3, 8.2.
 */

import {
  encodeException,
  encodeResultMeta,
  exceptionMessage,
  exceptionRepr,
  type ExtendedMeta,
  type MetaToStore,
  type ResultTuple,
  toJson,
  toPythonIso,
  toWireException,
  type WireException,
  type WireSignature,
} from "../wire/mod.ts";
import type { AlsoFailed, Outcome, OutcomeChord, OutcomeKind } from "./outcome.ts";

/** Whose result it is. */
export interface ResultOwner {
  readonly id: string;
  readonly name: string;
  readonly group: string | null;
  readonly groupIndex: number | null;
  readonly parentId: string | null;
  readonly chord: WireSignature | null;
  readonly children: ResultTuple[] | null;
}

/** How results are written: what settings say of them. */
export interface ResultStyle {
  readonly serializer: string;
  /** Wall-clock milliseconds. */
  now(): number;
}

const UTC = { offset: "+00:00" } as const;

/** The document of a value or state; throws EncodeError where the value cannot be carried. Data lane: per result. */
export function valueDocument(
  style: ResultStyle,
  owner: ResultOwner,
  result: { state: string; value: unknown; extended: ExtendedMeta | null },
): string | Uint8Array {
  const meta: MetaToStore = {
    taskId: owner.id,
    state: result.state,
    result: result.value,
    traceback: null,
    children: owner.children,
    dateDone: result.state === "SUCCESS" ? toPythonIso(style.now(), UTC) : null,
    groupId: owner.group,
    parentId: owner.parentId,
    extended: result.extended,
  };
  return encodeResultMeta(meta, style.serializer);
}

/** The document of an exception state; never throws for what the exception holds. */
export function errorDocument(
  style: ResultStyle,
  owner: ResultOwner,
  result: {
    state: string;
    exception: WireException | null;
    traceback: string | null;
    extended: ExtendedMeta | null;
    /** Beside those that the owner has so far. */
    moreChildren?: ResultTuple[];
  },
): string | Uint8Array {
  return encodeResultMeta({
    taskId: owner.id,
    state: result.state,
    result: result.exception,
    traceback: result.traceback,
    children: result.moreChildren ? [...owner.children ?? [], ...result.moreChildren] : owner.children,
    dateDone: result.state === "RETRY" ? null : toPythonIso(style.now(), UTC),
    groupId: owner.group,
    parentId: owner.parentId,
    extended: result.extended,
  }, style.serializer);
}

/**
 * A chord's member with its value; null where it is in no chord. The body stays in the message: of a header only
 * the last member needs it. Throws EncodeError as the document does.
 */
export function chordOfValue(owner: ResultOwner, value: unknown): OutcomeChord | null {
  if (owner.chord === null || owner.group === null) return null;
  return {
    groupId: owner.group,
    groupIndex: owner.groupIndex,
    body: null,
    result: toJson(value),
  };
}

/** A chord's member with its error; null where it is in no chord. */
export function chordOfError(owner: ResultOwner, exception: WireException): OutcomeChord | null {
  if (owner.chord === null || owner.group === null) return null;
  return {
    groupId: owner.group,
    groupIndex: owner.groupIndex,
    body: JSON.stringify(owner.chord),
    result: toJson(encodeException(exception)),
  };
}

/**
 * The same failure for every step of a chain that will not run: those with an id; of chords their bodies, so that
 * whoever waits for the end of the chain hears of it.
 */
export function alsoFailed(
  style: ResultStyle,
  chain: readonly WireSignature[] | null,
  failure: {
    exception: WireException;
    traceback: string | null;
    state: string;
    isStored: boolean;
    /** By task id: what was sent because of the failure. */
    children?: ReadonlyMap<string, ResultTuple[]>;
  },
  isExtended: boolean,
): AlsoFailed[] | null {
  if (chain === null || chain.length === 0) return null;
  const also: AlsoFailed[] = [];
  for (const step of chain) {
    for (const one of lastSteps(step)) {
      const options = one.options ?? {};
      const id = options["task_id"];
      if (typeof id !== "string") continue;
      const owner: ResultOwner = {
        id,
        name: one.task,
        group: textOrNull(options["group_id"]),
        groupIndex: typeof options["group_index"] === "number" ? options["group_index"] : null,
        parentId: textOrNull(options["parent_id"]),
        chord: (options["chord"] ?? null) as WireSignature | null,
        children: failure.children?.get(id) ?? [],
      };
      also.push({
        taskId: id,
        state: failure.state,
        document: failure.isStored
          ? errorDocument(style, owner, { ...failure, extended: isExtended ? extendedOf(one) : null })
          : null,
        chord: chordOfError(owner, failure.exception),
        replyTo: textOrNull(options["reply_to"]),
      });
    }
  }
  return also;
}

/** What `result_extended` tells of a call that never ran. */
function extendedOf(signature: WireSignature): ExtendedMeta {
  return {
    name: signature.task,
    args: signature.args ?? [],
    kwargs: signature.kwargs ?? {},
    worker: null,
    retries: 0,
    queue: null,
    stamps: null,
  };
}

/** The calls of a signature whose results someone may wait for. */
function lastSteps(signature: WireSignature): WireSignature[] {
  const kwargs = signature.kwargs ?? {};
  const tasks = kwargs["tasks"];
  switch (signature.subtask_type) {
    case "chain":
    case "group":
      return Array.isArray(tasks) ? (tasks as WireSignature[]).flatMap(lastSteps) : [];
    case "chord": {
      const body = kwargs["body"] as WireSignature | null | undefined;
      return body ? lastSteps(body) : [];
    }
    default:
      return [signature];
  }
}

/** An outcome of nothing: each kind fills in what it has. One shape for all. */
export function emptyOutcome(seq: number, kind: OutcomeKind, runtime: number): Outcome {
  return {
    seq,
    kind,
    state: null,
    document: null,
    runtime,
    summary: "",
    exception: "",
    traceback: null,
    expected: false,
    requeue: false,
    chord: null,
    also: null,
  };
}

/** The result that a result object stands for: its tuple. Anything else is itself. */
export function storable(value: unknown): unknown {
  if (value !== null && typeof value === "object") {
    const asTuple = (value as { asTuple?: unknown }).asTuple;
    if (typeof asTuple === "function") return asTuple.call(value);
  }
  return value;
}

/** Everything of an error that outcomes need. */
export interface ErrorFacts {
  readonly exception: WireException;
  readonly repr: string;
  readonly traceback: string;
}

/** An error as data, with its traceback. Never throws. */
export function errorFacts(error: unknown, taskName: string): ErrorFacts {
  const exception = toWireException(error, taskName);
  return { exception, repr: exceptionRepr(exception), traceback: tracebackText(error, taskName) };
}

// Frames of our own files are left out; in a bundle all of ours are one file.
const HERE = import.meta.url;
const OURS = HERE.endsWith("/app/trace_outcome.ts") ? HERE.slice(0, -"app/trace_outcome.ts".length) : HERE;
const CAUSES_MAX = 8;

/**
 * A traceback as Python prints it: the frames of the user's code, oldest first, and the error's type and text. Causes
 * come first.
 */
export function tracebackText(error: unknown, taskName: string, depth = 0): string {
  const exception = toWireException(error, taskName);
  let text = "";
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error && cause !== error && depth < CAUSES_MAX) {
    text = tracebackText(cause, taskName, depth + 1) +
      "\nThe above exception was the direct cause of the following exception:\n\n";
  }
  text += "Traceback (most recent call last):\n";
  const stack = error instanceof Error && typeof error.stack === "string" ? error.stack : "";
  for (const frame of framesOf(stack)) text += frame;
  const name = exception.excModule === null || exception.excModule === "builtins"
    ? exception.excType
    : `${exception.excModule}.${exception.excType}`;
  const message = exceptionMessage(exception);
  return `${text}${message === "" ? name : `${name}: ${message}`}\n`;
}

function framesOf(stack: string): string[] {
  const frames: string[] = [];
  for (const line of stack.split("\n")) {
    const match = /^\s+at (?:(.*?) \()?((?:file|https?|data|blob):.*?):(\d+):\d+\)?$/.exec(line);
    if (!match) continue;
    const [, fn, url, row] = match;
    if (url!.startsWith(OURS)) continue;
    const path = url!.startsWith("file://") ? decodeURIComponent(url!.slice("file://".length)) : url!;
    frames.push(`  File "${path}", line ${row}, in ${fn?.replace(/^async /, "") || "<module>"}\n`);
  }
  return frames.reverse();
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
