/**
 * Answers compressed with gzip, for those who take it: Prometheus asks for it at each scrape.
 *
 * The runtime's own compression knows only types that browsers show, and so not OpenMetrics.
 */

import { takesGzip } from "./accept.ts";

/** Types that are texts, and become a fraction of their size. Not streams of events, which are to arrive at once. */
const TEXTS = /^(?:text\/(?:plain|html)|application\/(?:json|openmetrics-text))\b/;
/** Shorter answers fit a packet or two as they are. */
const BYTES_MIN = 2048;

/** The response, compressed if the request takes that and it is a text of some length. */
export async function compressed(request: Request, response: Response): Promise<Response> {
  const { headers, status } = response;
  if (headers.has("content-encoding") || !TEXTS.test(headers.get("content-type") ?? "")) return response;
  headers.append("vary", "accept-encoding");
  if (request.method === "HEAD" || !takesGzip(request)) return response;
  const bytes = await response.bytes();
  if (bytes.length < BYTES_MIN) return new Response(bytes, { status, headers });
  headers.set("content-encoding", "gzip");
  const body = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Response(body, { status, headers });
}
