/** Mounts /api/v1 from the table of routes: checks scope and input, runs the handler, audits, replies. */

import { Value } from "@sinclair/typebox/value";
import { Hono } from "hono/quick";
import type { TObject } from "@sinclair/typebox";
import { isRecord } from "../../../base/mod.ts";
import { DecodeError, fromExactJson } from "../../../wire/mod.ts";
import { jsonResponse } from "../json.ts";
import { audited, type Ctx, type Env, mustBeAllowed, type Parts, Refused } from "../request.ts";
import { AUDITED, type HandledRoute, HANDLERS, targetOf } from "./handlers.ts";
import { type RouteFacts, ROUTES } from "./schema.ts";

/** Maximum length of a request's body, characters. */
const BODY_MAX = 4 << 20;

/** Returns all routes but those for the session. */
export function apiRoutes(parts: Parts): Hono<Env> {
  const api = new Hono<Env>();
  for (const [name, facts] of Object.entries<RouteFacts>(ROUTES)) {
    if (!Object.hasOwn(HANDLERS, name)) continue;
    const handler = HANDLERS[name as HandledRoute] as (parts: Parts, call: unknown) => unknown;
    api.on(facts.method, facts.path, async (c: Ctx) => {
      if (facts.scope !== "none") mustBeAllowed(c, parts.access, facts.scope);
      const call = {
        params: c.req.param() as Record<string, string>,
        query: facts.query === undefined ? {} : checkedQuery(c, facts.query),
        body: facts.body === undefined ? {} : await checkedBody(c, facts.body),
      };
      const action = AUDITED[name as HandledRoute];
      const isLook = action === undefined || isRecord(call.body) && call.body["isDryRun"] === true;
      const reply = isLook
        ? await handler(parts, call)
        : await audited(c, parts.audit, { action, target: targetOf(call) }, async () =>
          await handler(parts, call));
      if (reply === null) throw new Refused(404, "Not found, or no longer known");
      return jsonResponse(reply);
    });
  }
  return api;
}

/** Returns the body of a POST, checked against its schema. Rejects with Refused. */
export async function checkedBody(c: Ctx, schema: TObject): Promise<unknown> {
  // A form of another site cannot send this content type without a CORS preflight.
  const type = c.req.header("content-type") ?? "";
  const text = await c.req.text();
  if (text.length > BODY_MAX) throw new Refused(413, "The request is too long");
  if (text !== "" && !/^application\/json\b/.test(type)) {
    throw new Refused(415, "The request must be application/json");
  }
  let body: unknown = {};
  try {
    if (text.trim() !== "") body = fromExactJson(text);
  } catch (error) {
    if (error instanceof DecodeError) throw new Refused(400, "The request is not JSON");
    throw error;
  }
  return checked(schema, plainNumbers(schema, body));
}

function checkedQuery(c: Ctx, schema: TObject): unknown {
  const query = Object.fromEntries(Object.entries(c.req.query()).filter(([, value]) => value !== ""));
  return checked(schema, Value.Convert(schema, query));
}

function checked(schema: TObject, value: unknown): unknown {
  const [wrong] = [...Value.Errors(schema, value)];
  if (wrong === undefined) return value;
  const where = wrong.path.slice(1).replaceAll("/", ".") || "the request";
  throw new Refused(400, `Cannot use ${where}: ${wrong.message.toLowerCase()}`);
}

/** Converts the numbers that the schema names; those in a task's arguments keep all their digits. */
function plainNumbers(schema: TObject, body: unknown): unknown {
  if (!isRecord(body)) return body;
  return Object.fromEntries(
    Object.entries(body).map(([key, value]) => {
      const type = schema.properties[key]?.["type"];
      return [key, type === "number" || type === "integer" ? Number(value) : value];
    }),
  );
}
