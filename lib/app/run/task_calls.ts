/** Determines which tasks a message runs, at once or later: its own, and those of every signature in it. */

import { isRecord } from "../../base/mod.ts";
import {
  type Accept,
  decodeProtocol1,
  decodeTaskBody,
  decodeTaskHeaders,
  type EncodedMessage,
  InvalidTaskError,
  type TaskBody,
} from "../../wire/mod.ts";

/** A task that runs under this id; null: under a new id. */
export interface TaskCall {
  readonly name: string;
  readonly id: string | null;
}

/**
 * Celery's own tasks that only call others, and the names (in order the positions) of their arguments with
 * signatures.
 */
const CALLERS: Readonly<Record<string, readonly string[]>> = {
  "celery.map": ["task"],
  "celery.starmap": ["task"],
  "celery.chunks": ["task"],
  "celery.chain": ["tasks"],
  "celery.group": ["tasks"],
  "celery.chord": ["header", "body"],
};
/** Maximum nesting of signatures. */
const DEPTH_MAX = 200;

/** Returns the calls of a message. Throws if it is not a readable task message. */
export function callsOfMessage(message: EncodedMessage, accept: Accept): TaskCall[] {
  const headers = decodeTaskHeaders(message);
  if (headers !== null) {
    return callsOfTask({ task: headers.task, id: headers.id }, decodeTaskBody(message, accept));
  }
  const old = decodeProtocol1(message, accept);
  if (old === null) throw new InvalidTaskError("Message is not a task");
  return callsOfTask({ task: old.headers.task, id: old.headers.id }, old.body);
}

/** Returns the calls of a task with these arguments, and of the tasks that follow it. */
export function callsOfTask({ task, id }: { task: string; id: string }, body: TaskBody): TaskCall[] {
  const found: TaskCall[] = [];
  addCall(found, { name: task, id }, body.args, body.kwargs, 0);
  const { callbacks, errbacks, chain, chord } = body.embed;
  for (const one of [chain?.all() ?? null, chord]) addSignatures(found, one, 0);
  // Links are sent under new ids.
  const links: TaskCall[] = [];
  for (const one of [callbacks, errbacks]) addSignatures(links, one, 0);
  for (const { name } of links) found.push({ name, id: null });
  return found;
}

function addCall(
  found: TaskCall[],
  call: TaskCall,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  depth: number,
): void {
  const parts = Object.hasOwn(CALLERS, call.name) ? CALLERS[call.name]! : null;
  if (parts === null) return void found.push(call);
  let isEmpty = true;
  parts.forEach((part, n) => {
    const given = Object.hasOwn(kwargs, part) ? kwargs[part] : args[n];
    if (given === undefined || given === null) return;
    isEmpty = false;
    addSignatures(found, given, depth);
  });
  // No signature is visible here, so the caller itself needs the permission.
  if (isEmpty) found.push(call);
}

/** Adds the calls of one signature, or of a list of them. */
function addSignatures(found: TaskCall[], given: unknown, depth: number): void {
  if (given === null || given === undefined) return;
  if (depth > DEPTH_MAX) throw new InvalidTaskError(`Signatures are nested deeper than ${DEPTH_MAX}`);
  if (Array.isArray(given)) {
    for (const one of given) addSignatures(found, one, depth + 1);
    return;
  }
  if (!isRecord(given) || typeof given["task"] !== "string") {
    throw new InvalidTaskError("A signature has no task name");
  }
  const { task: name, args, kwargs, options } = given;
  const own = isRecord(options) ? options : {};
  const id = typeof own["task_id"] === "string" ? own["task_id"] : null;
  addCall(found, { name, id }, Array.isArray(args) ? args : [], isRecord(kwargs) ? kwargs : {}, depth + 1);
  for (const name of ["link", "link_error", "chain", "chord"]) addSignatures(found, own[name], depth + 1);
}
