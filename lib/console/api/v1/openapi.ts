/** Makes the OpenAPI document of /api/v1 from the same table that the server checks requests with. */

import { type RouteFacts, ROUTES, STREAM_TOPICS } from "./schema.ts";
import { SHAPES } from "../../shapes.ts";

type Json = Record<string, unknown>;

/** Returns the document (OpenAPI 3.1). `version` is the program's, `prefix` the URL prefix ("" or "/x"). */
export function openApi({ version, prefix }: { version: string; prefix: string }): Json {
  const paths: Record<string, Json> = {};
  for (const [name, facts] of Object.entries<RouteFacts>(ROUTES)) {
    const path = facts.path.replace(/:(\w+)/g, "{$1}");
    (paths[path] ??= {})[facts.method.toLowerCase()] = operation(name, facts);
  }
  paths["/stream"] = { get: STREAM };
  return {
    openapi: "3.1.0",
    info: {
      title: "Lovage console",
      version,
      description: "Times are seconds since 1970, durations are seconds.",
    },
    servers: [{ url: `${prefix}/api/v1` }],
    security: [{ token: [] }, { basic: [] }, { cookie: [] }],
    paths,
    components: {
      schemas: SHAPES,
      securitySchemes: {
        token: { type: "http", scheme: "bearer" },
        basic: { type: "http", scheme: "basic" },
        cookie: { type: "apiKey", in: "cookie", name: "lovage_session" },
      },
    },
  };
}

function operation(name: string, { path, summary, scope, query, body, reply }: RouteFacts): Json {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, key]) => ({
    name: key,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const inQuery = Object.entries(query?.properties ?? {}).map(([key, schema]) => ({
    name: key,
    in: "query",
    required: false,
    schema,
  }));
  return {
    operationId: name,
    summary,
    "x-scope": scope,
    ...(scope === "none" ? { security: [] } : {}),
    parameters: [...inPath, ...inQuery],
    ...(body === undefined ? {} : { requestBody: { required: true, content: json(body) } }),
    responses: {
      200: { description: "success", content: json({ $ref: `#/components/schemas/${reply}` }) },
      default: { description: "refused or failed", content: json({ $ref: "#/components/schemas/Fault" }) },
    },
  };
}

function json(schema: unknown): Json {
  return { "application/json": { schema } };
}

const STREAM: Json = {
  operationId: "stream",
  summary: "Follow changes as server-sent events",
  "x-scope": "read",
  parameters: [
    {
      name: "topics",
      in: "query",
      required: false,
      schema: { type: "string", default: STREAM_TOPICS },
      description:
        "overview, workers, queues, tasks?search=…, task:ID, worker:NAME; comma separated, each URL-encoded",
    },
    { name: "Last-Event-ID", in: "header", required: false, schema: { type: "string" } },
  ],
  responses: { 200: { description: "frames", content: { "text/event-stream": {} } } },
};
