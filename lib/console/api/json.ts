/** JSON for browsers: NaN and infinities, which JSON does not have, become null; big integers stay exact. */

import { rawJson } from "../../wire/mod.ts";

/** Encodes a value as JSON text. */
export function webJson(value: unknown): string {
  return JSON.stringify(value, (_, one) => typeof one === "bigint" ? rawJson(String(one)) : one);
}

/** Returns a JSON response. */
export function jsonResponse(value: unknown, status = 200): Response {
  return new Response(webJson(value), {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store" },
  });
}
