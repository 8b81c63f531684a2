/**
 * Outcomes that the worker's main isolate decides: hard time limit, lost child, revoked, expired, unknown
 * task.
 *
 * Source: celery 5.2.6 worker/request.py on_timeout, on_failure, _announce_revoked;
 * worker/consumer/consumer.py on_unknown_task; protocol.md 8.2, 8.10.
 */

import {
  acceptedTypes,
  decodeProtocol1,
  decodeTaskBody,
  decodeTaskHeaders,
  type EncodedMessage,
  InvalidTaskError,
  MAIN_UNPACKED_BYTES_MAX,
  type TaskBody,
  type TaskHeaders,
  TimeLimitExceeded,
  type WireException,
  WorkerLostError,
} from "../../wire/mod.ts";
import { signals } from "../call/signals.ts";
import type { AppCore, RunnableTask } from "../core.ts";
import { hasCalledErrbacks, sendErrbacks } from "./dispatch.ts";
import type { AlsoFailed, EndedTask, OutcomeChord } from "../call/outcome.ts";
import type { TaskRequest } from "../call/request.ts";
import { directRequest } from "../conf/task_options.ts";
import { alsoFailed, chordOfError, errorDocument, errorFacts, type ResultOwner } from "./trace_outcome.ts";

/** The parts of a task's end that was not reported by a slot. */
export interface ParentOutcome {
  readonly state: "FAILURE" | "REVOKED";
  /** Null if nothing is stored (ignored results, a message without an id). */
  readonly document: string | Uint8Array | null;
  readonly chord: OutcomeChord | null;
  readonly also: readonly AlsoFailed[] | null;
  /** The root id of its tree. */
  readonly rootId: string | null;
  /** Python's repr of the error. */
  readonly exception: string;
  /** What a slot must call of the user's code; null: nothing. */
  readonly ended: EndedTask | null;
}

/**
 * Makes the outcome of a message whose task was ended, lost, revoked or never known. "failure" publishes the
 * errbacks; "revoked" does not. Calls no user code: `ended` says what a slot must call. Never rejects:
 * errbacks that cannot be sent are logged. `children` are unknown and left empty.
 */
export async function failTask(
  app: AppCore,
  message: EncodedMessage,
  error: Error,
  kind: "failure" | "revoked",
): Promise<ParentOutcome> {
  const state = kind === "revoked" ? "REVOKED" : "FAILURE";
  const decoded = decodeForParent(app, message);
  const { headers, body } = decoded;
  const name = headers?.task ?? "";
  const facts = errorFacts(error, name);
  if (headers === null) {
    return {
      state,
      document: null,
      chord: null,
      also: null,
      rootId: null,
      exception: facts.repr,
      ended: null,
    };
  }
  const owner: ResultOwner = {
    id: headers.id,
    name,
    group: headers.group,
    groupIndex: headers.groupIndex,
    parentId: headers.parentId,
    chord: body?.embed.chord ?? null,
    children: [],
  };
  const style = { serializer: app.conf.result_serializer, now: () => app.world.clock.wallMs() };
  const task = app.tasks.get(name);
  const isIgnored = headers.ignoreResult ?? task?.options.ignoreResult ?? false;
  const isStored = !isIgnored || (state === "FAILURE" && task?.options.storeErrorsEvenIfIgnored === true);
  const extended = app.conf.result_extended
    ? {
      name,
      args: body?.args ?? null,
      kwargs: body?.kwargs ?? null,
      worker: null,
      retries: headers.retries,
      queue: null,
      stamps: headers.stampedHeaders === null ? null : headers.stamps,
    }
    : null;
  const failure = { exception: facts.exception, traceback: null, state, isStored };
  if (kind === "failure" && body?.embed.errbacks) {
    try {
      const done = { id: headers.id, rootId: headers.rootId ?? headers.id, priority: null };
      await sendErrbacks(app, done, body.embed.errbacks);
    } catch (problem) {
      app.world.log.error(
        `Cannot send errbacks of ${name}[${headers.id}]: ${errorFacts(problem, name).repr}`,
      );
    }
  }
  return {
    state,
    document: isStored ? errorDocument(style, owner, { ...failure, extended }) : null,
    chord: chordOfError(owner, facts.exception),
    also: alsoFailed(style, body?.embed.chain?.all() ?? null, failure, app.conf.result_extended),
    rootId: headers.rootId,
    exception: facts.repr,
    ended: kind === "failure" ? endedTask(app, { task, error, exception: facts.exception, body }) : null,
  };
}

/**
 * Returns what a slot must call. Source: celery main (5.7) worker/request.py Request.on_timeout, on_failure.
 */
function endedTask(
  app: AppCore,
  { task, error, exception, body }: {
    readonly task: RunnableTask | undefined;
    readonly error: Error;
    readonly exception: WireException;
    readonly body: TaskBody | null;
  },
): EndedTask | null {
  // Celery calls a task's own hooks for hard limits, and sends the signal for lost processes too.
  const isTimeout = error instanceof TimeLimitExceeded;
  const failure = { exception, traceback: null };
  const hasSignal = signals.taskFailure.hasReceivers && (isTimeout || error instanceof WorkerLostError);
  const { onFailure, afterReturn } = task?.options ?? {};
  if (task !== undefined && body !== null) {
    if (isTimeout && (onFailure || afterReturn || hasSignal)) return { ...failure, hooks: "all" };
    if (hasSignal) return { ...failure, hooks: "signal" };
  }
  return hasCalledErrbacks(app, body?.embed.errbacks ?? null) ? { ...failure, hooks: "none" } : null;
}

/** Returns the request of a task according to its message. */
export function requestOf(headers: TaskHeaders, body: TaskBody): TaskRequest {
  const { id, task: name, rootId, parentId, group, groupIndex, retries } = headers;
  const { chord, chain, callbacks, errbacks } = body.embed;
  return {
    ...directRequest(name, body.args, body.kwargs, id),
    ...{
      rootId,
      parentId,
      group,
      groupIndex,
      retries,
      chord,
      chain: chain?.all() ?? null,
      callbacks,
      errbacks,
      calledDirectly: false,
    },
  };
}

/** Decodes a message outside any slot; parts that cannot be read are null. Never throws. */
export function decodeForParent(
  app: AppCore,
  message: EncodedMessage,
): { headers: TaskHeaders | null; body: TaskBody | null } {
  const accept = acceptedTypes(app.conf.accept_content);
  let headers: TaskHeaders | null = null;
  try {
    headers = headersOf(message);
    if (headers === null) {
      const old = decodeProtocol1(message, accept, MAIN_UNPACKED_BYTES_MAX);
      return { headers: old?.headers ?? null, body: old?.body ?? null };
    }
    return { headers, body: decodeTaskBody(message, accept, { unpackedMax: MAIN_UNPACKED_BYTES_MAX }) };
  } catch {
    // A body that cannot be read has neither chord nor errbacks.
    return { headers, body: null };
  }
}

/**
 * Decodes a message's headers. If one of them has the wrong type, decodes only those that identify the
 * result.
 */
function headersOf(message: EncodedMessage): TaskHeaders | null {
  try {
    return decodeTaskHeaders(message);
  } catch (error) {
    if (!(error instanceof InvalidTaskError)) throw error;
    const headers = Object.fromEntries(IDENTITY.map((name) => [name, message.headers[name]]));
    return decodeTaskHeaders({ ...message, headers });
  }
}

const IDENTITY = [
  "task",
  "id",
  "group",
  "group_index",
  "root_id",
  "parent_id",
  "ignore_result",
  "compression",
];
