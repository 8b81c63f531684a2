/** The answer to Prometheus: its text format, or OpenMetrics if that is accepted. */

import { OPENMETRICS_TYPE, TEXT_TYPE } from "../metrics/mod.ts";
import { wantsOpenMetrics } from "./accept.ts";

/** Answers with the text that `write` makes. Rejects as `write` does. */
export async function metricsResponse(
  request: Request,
  write: (isOpenMetrics: boolean) => string | Promise<string>,
): Promise<Response> {
  const isOpenMetrics = wantsOpenMetrics(request);
  const type = isOpenMetrics ? OPENMETRICS_TYPE : TEXT_TYPE;
  return new Response(await write(isOpenMetrics), {
    headers: { "content-type": type, "cache-control": "no-store" },
  });
}
