/** Responses to probes: whether a process is alive, and whether it does its work. */

import { toJson } from "../wire/mod.ts";

/** The result of one check; `text` describes it. */
export interface HealthCheck {
  readonly name: string;
  readonly isOk: boolean;
  readonly text: string;
}

/**
 * Returns the response to a probe: 200 if every check passes, else 503. The body is "ok", or the failed
 * checks and "not ready"; with `?verbose` it has a line for each check. JSON if the request accepts it.
 * Without checks it only shows that the process is alive.
 */
export function healthResponse(request: Request, checks: readonly HealthCheck[]): Response {
  const isOk = checks.every((check) => check.isOk);
  const answer = (text: string, type: string) =>
    new Response(`${text}\n`, {
      status: isOk ? 200 : 503,
      headers: { "content-type": type, "cache-control": "no-store" },
    });
  const status = isOk ? "ok" : "not ready";
  if (request.headers.get("accept")?.includes("application/json")) {
    const shown = checks.map(({ name, isOk, text }) => ({ name, ok: isOk, text }));
    return answer(toJson({ status, checks: shown }), "application/json");
  }
  const isVerbose = new URLSearchParams(/\?([^#]*)/.exec(request.url)?.[1] ?? "").has("verbose");
  const shown = isVerbose ? checks : checks.filter((check) => !check.isOk);
  const lines = shown.map((check) => `[${check.isOk ? "+" : "-"}]${check.name}: ${check.text}`);
  return answer([...lines, status].join("\n"), "text/plain; charset=utf-8");
}
