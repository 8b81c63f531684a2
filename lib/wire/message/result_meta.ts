/**
 * Result documents, which a result store keeps under a task's id, with keys in Celery's order.
 *
 * Source: celery 5.6.3 backends/base.py Backend._get_result_meta, prepare_exception, exception_to_python.
 */

import { quoted, textOrNull } from "../../base/mod.ts";
import { fromCarriedJson, revived } from "../json/carried.ts";
import { DecodeError, type WireException } from "../errors.ts";
import { toJson } from "../json/json.ts";
import { EXCEPTION_STATES, type ResultMeta, type ResultTuple } from "./message.ts";
import { strictRepr } from "../python_repr.ts";
import { kindOf, recordOrNull } from "../record.ts";
import {
  type Accept,
  contentOf,
  deserialize,
  JSON_TYPE,
  refuseContent,
  serialize,
  utf8Text,
} from "../serializer/serializer.ts";
import { isoMs, toPythonIso } from "../times.ts";

/** The fields that `result_extended` adds; `queue` is the routing key with which the message came. */
export interface ExtendedMeta
  extends Pick<ResultMeta, "name" | "args" | "kwargs" | "worker" | "retries" | "queue"> {
  stamps?: Record<string, unknown> | null;
}

/**
 * A result to be stored. `result` is a WireException (or null) for exception states. `dateDone` is set only
 * if the state is final.
 */
export interface MetaToStore
  extends Pick<ResultMeta, "taskId" | "state" | "result" | "traceback" | "children" | "dateDone"> {
  groupId?: string | null;
  parentId?: string | null;
  extended?: ExtendedMeta | null;
}

/** Returns the document of a result. Throws EncodeError if the value cannot be encoded. Cost: per result. */
export function encodeResultMeta(meta: MetaToStore, serializer: string): string | Uint8Array {
  const value = EXCEPTION_STATES.has(meta.state) ? exceptionOrNull(meta.result) : meta.result;
  if (serializer !== "json" || meta.extended) return serialize(metaRecord(meta, value), serializer).body;
  let text = '{"status":' + quoted(meta.state) + ',"result":' + toJson(value) + ',"traceback":' +
    (meta.traceback === null ? "null" : quoted(meta.traceback)) + ',"children":' +
    childrenJson(meta.children) + ',"date_done":' +
    (meta.dateDone === null ? "null" : quoted(meta.dateDone));
  const groupId = meta.groupId ?? null;
  if (groupId !== null) text += ',"group_id":' + quoted(groupId);
  const parentId = meta.parentId ?? null;
  if (parentId !== null) text += ',"parent_id":' + quoted(parentId);
  return text + ',"task_id":' + quoted(meta.taskId) + "}";
}

/**
 * Reads a document of any version. With `isCarried`, the values of a JSON document are carried
 * (json/carried.ts), to be passed on. Throws DecodeError if it is not a result document, ContentDisallowed
 * for a refused serializer.
 */
export function decodeResultMeta(
  document: string | Uint8Array,
  { serializer, accept }: { readonly serializer: string; readonly accept: Accept },
  isCarried = false,
): ResultMeta {
  const [type, encoding] = contentOf(serializer);
  if (type === JSON_TYPE && isCarried) {
    refuseContent(type, encoding, accept);
    return resultMetaFrom(fromCarriedJson(typeof document === "string" ? document : utf8Text(document)));
  }
  return resultMetaFrom(deserialize(document, type, encoding, accept));
}

/** Returns a result from a decoded document. Throws DecodeError if it is not an object with a status. */
export function resultMetaFrom(value: unknown): ResultMeta {
  const record = recordOrNull(value);
  if (record === null) throw new DecodeError(`Cannot decode result: ${kindOf(value)} instead of an object`);
  const state = record["status"];
  if (typeof state !== "string") throw new DecodeError("Cannot decode result: it has no status");
  const result = record["result"] ?? null;
  return {
    taskId: textOrNull(record["task_id"]) ?? "",
    state,
    result: EXCEPTION_STATES.has(state) ? decodeException(revived(result)) : result,
    traceback: textOrNull(record["traceback"]),
    children: Array.isArray(record["children"]) ? record["children"] as ResultTuple[] : null,
    dateDone: dateText(record["date_done"]),
    groupId: textOrNull(record["group_id"]),
    parentId: textOrNull(record["parent_id"]),
    name: textOrNull(record["name"]),
    args: Array.isArray(record["args"]) ? record["args"] : null,
    kwargs: recordOrNull(record["kwargs"]),
    worker: textOrNull(record["worker"]),
    retries: typeof record["retries"] === "number" ? record["retries"] : null,
    queue: textOrNull(record["queue"]),
    stamps: stampsOf(record),
  };
}

/** Returns the stored form of an exception. An argument that JSON cannot carry becomes its repr. */
export function encodeException(exception: WireException): WireExceptionRecord {
  const args: unknown[] = [];
  for (const arg of exception.args) args.push(isEncodable(arg) ? arg : strictRepr(arg));
  return { exc_type: exception.excType, exc_message: args, exc_module: exception.excModule };
}

/** The stored form of an exception. */
export interface WireExceptionRecord {
  exc_type: string;
  exc_message: unknown[];
  exc_module: string | null;
}

/**
 * Reads a stored exception leniently: the message may be any single value, the module or even the type may be
 * missing. Never throws.
 */
export function decodeException(value: unknown): WireException {
  const record = recordOrNull(value);
  if (record === null || typeof record["exc_type"] !== "string") {
    const args = value === null || value === undefined
      ? []
      : [typeof value === "string" ? value : strictRepr(value)];
    return { excType: "Exception", excModule: "builtins", args };
  }
  const message = record["exc_message"];
  const args = Array.isArray(message) ? message : message === null || message === undefined ? [] : [message];
  return { excType: record["exc_type"], excModule: textOrNull(record["exc_module"]), args };
}

function metaRecord(meta: MetaToStore, value: unknown): Record<string, unknown> {
  const record: Record<string, unknown> = {
    status: meta.state,
    result: value,
    traceback: meta.traceback,
    children: meta.children,
    date_done: meta.dateDone,
  };
  if (meta.groupId) record["group_id"] = meta.groupId;
  if (meta.parentId) record["parent_id"] = meta.parentId;
  const { extended } = meta;
  if (extended) {
    record["name"] = extended.name;
    record["args"] = extended.args;
    record["kwargs"] = extended.kwargs;
    record["worker"] = extended.worker;
    record["retries"] = extended.retries;
    record["queue"] = extended.queue;
    const stamps = extended.stamps ?? {};
    const names = Object.keys(stamps);
    if (names.length > 0) {
      record["stamped_headers"] = names;
      for (const name of names) if (!Object.hasOwn(record, name)) record[name] = stamps[name];
    }
  }
  record["task_id"] = meta.taskId;
  return record;
}

function childrenJson(children: ResultTuple[] | null): string {
  if (children === null) return "null";
  return children.length === 0 ? "[]" : toJson(children);
}

function exceptionOrNull(value: unknown): unknown {
  const record = recordOrNull(value);
  if (record !== null && typeof record["excType"] === "string") {
    return encodeException(value as WireException);
  }
  return value ?? null;
}

function isEncodable(value: unknown): boolean {
  if (
    typeof value === "string" || typeof value === "number" || typeof value === "boolean" || value === null
  ) {
    return true;
  }
  try {
    toJson(value);
    return true;
  } catch {
    // Its repr is stored instead.
    return false;
  }
}

/** Returns a date as text: from text with or without offset, or from a Date made by typed JSON. */
function dateText(value: unknown): string | null {
  if (value instanceof Date) return toPythonIso(value.getTime());
  return typeof value === "string" && !Number.isNaN(isoMs(value)) ? value : null;
}

function stampsOf(record: Record<string, unknown>): Record<string, unknown> | null {
  const names = record["stamped_headers"];
  if (!Array.isArray(names) || names.length === 0) return null;
  const stamps: Record<string, unknown> = {};
  for (const name of names) {
    if (typeof name === "string" && Object.hasOwn(record, name)) stamps[name] = record[name];
  }
  return stamps;
}
