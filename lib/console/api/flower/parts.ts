/** What Flower's routes share: arguments, errors and JSON in Flower's form. */

import { booleanOf, errorText, isRecord, OperatingError, UsageError } from "../../../base/mod.ts";
import { DecodeError, fromExactJson } from "../../../wire/mod.ts";
import { allows, type Scope } from "../../auth/access.ts";
import { SearchError } from "../../history/search.ts";
import { webJson } from "../json.ts";
import { audited, type Ctx, faultOf, type Parts } from "../request.ts";

const JSON_TYPE = "application/json; charset=UTF-8";
const TEXT_TYPE = "text/html; charset=UTF-8";
const UNAVAILABLE = "Broker or result backend unavailable";
const NEEDS_LOGIN =
  "FLOWER_UNAUTHENTICATED_API environment variable is required to enable API without authentication";

/** An error answer with its HTTP status. */
export class HttpError extends Error {
  override name = "HttpError";
  readonly status: number;
  constructor(status: number, message = "") {
    super(message);
    this.status = status;
  }
}

/** An answer of a route: a value sent as JSON, a text with a status, or a finished response. */
export type Answer = Record<string, unknown> | { readonly status: number; readonly text: string } | Response;

/** A request to Flower's API, with its arguments from the query and the form. */
export class FlowerCall {
  readonly c: Ctx;
  readonly parts: Parts;
  readonly #arguments: URLSearchParams;
  readonly body: string;

  private constructor(c: Ctx, parts: Parts, { all, body }: { all: URLSearchParams; body: string }) {
    this.c = c;
    this.parts = parts;
    this.#arguments = all;
    this.body = body;
  }

  /** Reads a request with its body. */
  static async read(c: Ctx, parts: Parts): Promise<FlowerCall> {
    const all = new URLSearchParams(c.req.query());
    const body = c.req.method === "POST" ? await c.req.text() : "";
    if (c.req.header("content-type")?.startsWith("application/x-www-form-urlencoded")) {
      for (const [key, value] of new URLSearchParams(body)) all.append(key, value);
    }
    return new FlowerCall(c, parts, { all, body });
  }

  /** Returns an argument, the last one if it is repeated; null if it is missing. */
  text(name: string): string | null {
    return this.#arguments.getAll(name).at(-1)?.trim() || null;
  }

  /** Returns a required argument. Throws HttpError 400. */
  need(name: string): string {
    const value = this.text(name);
    if (value === null) throw new HttpError(400, `Missing argument ${name}`);
    return value;
  }

  /** Returns a boolean argument; false if it is missing. Throws HttpError 400. */
  flag(name: string): boolean {
    const text = this.text(name);
    if (text === null) return false;
    const value = booleanOf(text);
    if (value === null) throw new HttpError(400, `Invalid argument '${text}' of type 'bool'`);
    return value;
  }

  /** Returns a numeric argument; null if it is missing. Throws HttpError 400. */
  number(name: string, kind: "int" | "float"): number | null {
    const text = this.text(name);
    if (text === null) return null;
    const value = Number(text);
    if (!Number.isFinite(value) || kind === "int" && !/^[+-]?\d+$/.test(text)) {
      throw new HttpError(400, `Invalid argument '${text}' of type '${kind}'`);
    }
    return value;
  }

  /** Parses the body: arguments and options of the task to send. Throws HttpError 400. */
  task(): { args: unknown[]; kwargs: Record<string, unknown>; options: Record<string, unknown> } {
    let given: unknown = {};
    try {
      if (this.body.trim() !== "") given = fromExactJson(this.body);
    } catch (error) {
      if (error instanceof DecodeError) throw new HttpError(400, error.message);
      throw error;
    }
    if (!isRecord(given)) throw new HttpError(400, "invalid options");
    const { args = [], kwargs = {}, ...options } = given;
    if (!Array.isArray(args)) throw new HttpError(400, "args must be an array");
    return { args, kwargs: isRecord(kwargs) ? kwargs : {}, options };
  }
}

/** A route of Flower's API. */
export interface FlowerRoute {
  readonly scope: Scope;
  /** The action's name in the audit log; absent if the route only reads. */
  readonly action?: string;
  /** True if error answers have a status and no text. */
  readonly isSilent?: boolean;
  run(call: FlowerCall, name: string): Promise<Answer> | Answer;
}

/** Runs a route and answers as Flower does. `isOpen`: answer even if no login is configured. */
export async function answer(
  c: Ctx,
  parts: Parts,
  { route, name, isOpen }: { route: FlowerRoute; name: string; isOpen: boolean },
): Promise<Response> {
  const { access, audit } = parts;
  try {
    if (!access.isNeeded && !isOpen) throw new HttpError(401, NEEDS_LOGIN);
    const identity = c.get("identity");
    if (identity === null) throw new HttpError(401);
    if (!allows(identity.scope, route.scope)) {
      throw new HttpError(
        403,
        access.isReadOnly ? "Read only mode is enabled" : `This needs the scope ${route.scope}`,
      );
    }
    const call = await FlowerCall.read(c, parts);
    const run = async () => await route.run(call, name);
    const found = route.action === undefined
      ? await run()
      : await audited(c, audit, { action: route.action, target: name }, run);
    return asResponse(found);
  } catch (error) {
    return refusalOf(error, route, parts);
  }
}

function asResponse(found: Answer): Response {
  if (found instanceof Response) return found;
  if (typeof found["status"] === "number" && typeof found["text"] === "string") {
    return new Response(found["text"], { status: found["status"], headers: { "content-type": TEXT_TYPE } });
  }
  return new Response(webJson(found), { headers: { "content-type": JSON_TYPE } });
}

function refusalOf(error: unknown, route: FlowerRoute, { access }: Parts): Response {
  const [status, text] = statusOf(error);
  const headers: Record<string, string> = { "content-type": TEXT_TYPE };
  if (status === 401 && access.hasBasic) headers["www-authenticate"] = 'Basic realm="flower"';
  return new Response(route.isSilent && status !== 401 ? "" : text, { status, headers });
}

function statusOf(error: unknown): [status: number, text: string] {
  if (error instanceof HttpError) return [error.status, error.message];
  if (error instanceof UsageError || error instanceof SearchError) return [400, errorText(error)];
  if (error instanceof OperatingError) return [503, UNAVAILABLE];
  const known = faultOf(error);
  if (known === null) throw error;
  return [known.status, known.fault.error];
}
