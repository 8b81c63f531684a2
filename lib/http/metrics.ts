/** The response to a scrape: Prometheus' text format, or OpenMetrics if that is preferred. */

import { OPENMETRICS_TYPE, TEXT_TYPE } from "../metrics/mod.ts";
import { wantsOpenMetrics } from "./accept.ts";

/** Responds with the text that `write` makes. Rejects as `write` does. */
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
