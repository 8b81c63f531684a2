/**
 * Outcomes that the worker's main isolate decides by itself: hard time limit, lost child, revoked, expired, unknown
 * task.
 *
 * Source: celery 5.2.6 worker/request.py on_timeout, on_failure, _announce_revoked; worker/consumer/consumer.py
 * on_unknown_task; protocol.md 8.2, 8.10.
 */

import {
  acceptedTypes,
  decodeProtocol1,
  decodeTaskBody,
  decodeTaskHeaders,
  type EncodedMessage,
  type TaskBody,
  type TaskHeaders,
} from "../wire/mod.ts";
import type { App } from "./app.ts";
import { sendErrbacks } from "./dispatch.ts";
import type { AlsoFailed, OutcomeChord } from "./outcome.ts";
import type { TaskRequest } from "./request.ts";
import { directRequest } from "./task_options.ts";
import { alsoFailed, chordOfError, errorDocument, errorFacts, type ResultOwner } from "./trace_outcome.ts";

/** What to store and count for a task that never ended by itself. */
export interface ParentOutcome {
  readonly state: "FAILURE" | "REVOKED";
  /** Null where nothing is to be stored (ignored results, a message without an id). */
  readonly document: string | Uint8Array | null;
  readonly chord: OutcomeChord | null;
  readonly also: readonly AlsoFailed[] | null;
  /** Python's repr of the error. */
  readonly exception: string;
}

/**
 * Makes the outcome of a message whose task was ended, lost, revoked or never known. "failure" publishes the errbacks;
 * "revoked" does not. Never rejects: errbacks that cannot be sent are logged. `children` are unknown and empty.
 */
export async function failTask(
  app: App,
  message: EncodedMessage,
  error: Error,
  kind: "failure" | "revoked",
): Promise<ParentOutcome> {
  const state = kind === "revoked" ? "REVOKED" : "FAILURE";
  const decoded = decodeForParent(app, message);
  const { headers, body } = decoded;
  const name = headers?.task ?? "";
  const facts = errorFacts(error, name);
  if (headers === null) return { state, document: null, chord: null, also: null, exception: facts.repr };
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
  const isIgnored = task ? task.options.ignoreResult : headers.ignoreResult;
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
      await sendErrbacks(
        app,
        { id: headers.id, rootId: headers.rootId ?? headers.id, priority: null },
        body.embed.errbacks,
        { request: () => requestOf(headers, body), error, traceback: null },
      );
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
    exception: facts.repr,
  };
}

function requestOf(headers: TaskHeaders, body: TaskBody): TaskRequest {
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

/** A message read outside any slot; null for the parts that cannot be read. Never throws. */
export function decodeForParent(
  app: App,
  message: EncodedMessage,
): { headers: TaskHeaders | null; body: TaskBody | null } {
  const accept = acceptedTypes(app.conf.accept_content);
  let headers: TaskHeaders | null = null;
  try {
    headers = decodeTaskHeaders(message);
    if (headers === null) {
      const old = decodeProtocol1(message, accept);
      return { headers: old?.headers ?? null, body: old?.body ?? null };
    }
    return { headers, body: decodeTaskBody(message, accept) };
  } catch {
    // A body that cannot be read has no chord and no errbacks to tell.
    return { headers, body: null };
  }
}
