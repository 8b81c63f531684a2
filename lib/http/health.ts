/** Answers to probes: whether a process turns, and whether it does its work. */

import { toJson } from "../wire/mod.ts";

/** One thing that was looked at. `text` says in words what was found. */
export interface HealthCheck {
  readonly name: string;
  readonly isOk: boolean;
  readonly text: string;
}

/**
 * The answer to a request: 200 if all holds, else 503. The text is "ok", or "not ready" below what does not hold; with
 * `?verbose` there is a line for each check. JSON for those who accept it. Without checks it says that the process
 * turns.
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
