/**
 * Makes outcomes and result documents.
 *
 * Source: celery 5.2.6 backends/base.py _get_result_meta, mark_as_failure, app/trace.py; protocol.md 4.2,
 * 4.3, 8.2.
 */

import { errorText, framePath, isOurModule, type LogCaller, textOrNull } from "../../base/mod.ts";
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
} from "../../wire/mod.ts";
import type { AlsoFailed, OutcomeChord } from "../call/outcome.ts";

/** The task that a result belongs to. */
export interface ResultOwner {
  readonly id: string;
  readonly name: string;
  readonly group: string | null;
  readonly groupIndex: number | null;
  readonly parentId: string | null;
  readonly chord: WireSignature | null;
  readonly children: ResultTuple[] | null;
}

/** The form of result documents, from the settings. */
export interface ResultStyle {
  readonly serializer: string;
  /** Wall-clock milliseconds. */
  now(): number;
}

const UTC = { offset: "+00:00" } as const;

/**
 * Returns the document of a value or state. Throws EncodeError if the value cannot be encoded. Data lane: per
 * result.
 */
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

/** Returns the document of an exception state. Never throws because of the exception. */
export function errorDocument(
  style: ResultStyle,
  owner: ResultOwner,
  result: {
    state: string;
    exception: WireException | null;
    traceback: string | null;
    extended: ExtendedMeta | null;
    /** Children in addition to the owner's. */
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
 * Returns the part of a chord's member that succeeded; null if it is not in a chord. The body stays in the
 * message, since only the last member of a header needs it. Throws EncodeError like `valueDocument`.
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

/** Returns the part of a chord's member that failed; null if it is not in a chord. */
export function chordOfError(owner: ResultOwner, exception: WireException): OutcomeChord | null {
  if (owner.chord === null || owner.group === null) return null;
  return {
    groupId: owner.group,
    groupIndex: owner.groupIndex,
    body: toJson(owner.chord),
    result: toJson(encodeException(exception)),
  };
}

/**
 * Returns the same failure for every step of a chain that will not run and has an id; for a chord, for its
 * body. So a client that waits for the end of the chain gets the failure.
 */
export function alsoFailed(
  style: ResultStyle,
  chain: readonly WireSignature[] | null,
  failure: {
    exception: WireException;
    traceback: string | null;
    state: string;
    isStored: boolean;
    /** Messages sent because of the failure, by task id. */
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

/** Returns what `result_extended` adds for a call that never ran. */
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

/** Returns the calls of a signature, and of the steps after it, whose results a client may wait for. */
function lastSteps(signature: WireSignature): WireSignature[] {
  const later = signature.options?.["chain"];
  const ends = ownLastSteps(signature);
  return Array.isArray(later) ? [...ends, ...(later as WireSignature[]).flatMap(lastSteps)] : ends;
}

function ownLastSteps(signature: WireSignature): WireSignature[] {
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

/** Returns the tuple of a result object; any other value unchanged. */
export function storable(value: unknown): unknown {
  if (value !== null && typeof value === "object") {
    const asTuple = (value as { asTuple?: unknown }).asTuple;
    if (typeof asTuple === "function") return asTuple.call(value);
  }
  return value;
}

/** The facts about an error that outcomes need. */
export interface ErrorFacts {
  readonly exception: WireException;
  readonly repr: string;
  readonly traceback: string;
}

/** Converts an error to data, with its traceback. Never throws. */
export function errorFacts(error: unknown, taskName: string): ErrorFacts {
  const exception = toWireException(error, taskName);
  return { exception, repr: exceptionRepr(exception), traceback: tracebackText(error, taskName) };
}

/** Returns the same facts with only texts, for an error whose arguments cannot be encoded. Never throws. */
export function plainErrorFacts({ exception, repr, traceback }: ErrorFacts, why: unknown): ErrorFacts {
  return { exception: { ...exception, args: [repr, errorText(why)] }, repr, traceback };
}

const CAUSES_MAX = 8;

/**
 * Returns a traceback in Python's format: the frames of the user's code, oldest first, and the error's type
 * and text. Causes come first. Never throws.
 */
export function tracebackText(error: unknown, taskName: string, depth = 0): string {
  const exception = toWireException(error, taskName);
  const { cause, stack } = causeAndStack(error);
  let text = "";
  if (cause !== null && cause !== error && depth < CAUSES_MAX) {
    text = tracebackText(cause, taskName, depth + 1) +
      "\nThe above exception was the direct cause of the following exception:\n\n";
  }
  text += "Traceback (most recent call last):\n";
  for (const frame of framesOf(stack)) text += frame;
  const name = exception.excModule === null || exception.excModule === "builtins"
    ? exception.excType
    : `${exception.excModule}.${exception.excType}`;
  const message = exceptionMessage(exception);
  return `${text}${message === "" ? name : `${name}: ${message}`}\n`;
}

/** Returns an error's cause and stack; neither if reading the error throws. */
function causeAndStack(error: unknown): { cause: Error | null; stack: string } {
  try {
    if (!(error instanceof Error)) return { cause: null, stack: "" };
    const { cause, stack } = error;
    return { cause: cause instanceof Error ? cause : null, stack: typeof stack === "string" ? stack : "" };
  } catch {
    return { cause: null, stack: "" };
  }
}

/** Maximum characters of a line that may be a frame. */
const FRAME_CHARS_MAX = 2000;

function framesOf(stack: string): string[] {
  const frames: string[] = [];
  for (const text of stack.split("\n")) {
    const frame = frameOf(text);
    if (frame !== null) frames.push(`  File "${frame.path}", line ${frame.line}, in ${frame.name}\n`);
  }
  return frames.reverse();
}

/** Returns the frame in a line of a stack if it is user code, else null. */
function frameOf(text: string): LogCaller | null {
  // The stack also contains the error's text, which may be anything.
  if (text.length > FRAME_CHARS_MAX) return null;
  const match = /^\s+at (?:(.*?) \()?((?:file|https?|data|blob):.*?):(\d+):\d+\)?$/.exec(text);
  if (!match) return null;
  const [, fn, url, row] = match;
  if (isOurModule(url!)) return null;
  const path = url!.startsWith("file:") ? framePath(url!) : url!;
  return { path, line: Number(row), name: fn?.replace(/^async /, "") || "<module>" };
}

/** Returns where user code called us, or null if unknown. */
export function callerHere(): LogCaller | null {
  for (const text of (new Error().stack ?? "").split("\n")) {
    const frame = frameOf(text);
    if (frame !== null) return frame;
  }
  return null;
}
