/** JSON that a browser reads: NaN and the infinities, which JSON does not have, are null; big numbers stay exact. */

import { rawJson } from "../../wire/mod.ts";

/** A value as JSON text. */
export function webJson(value: unknown): string {
  return JSON.stringify(value, (_, one) => typeof one === "bigint" ? rawJson(String(one)) : one);
}

/** An answer of JSON. */
export function jsonResponse(value: unknown, status = 200): Response {
  return new Response(webJson(value), {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store" },
  });
}
