/**
 * Compresses responses with gzip if the client accepts it: Prometheus asks for it at each scrape.
 *
 * The runtime's own compression knows only types that browsers show, so not OpenMetrics.
 */

import { takesGzip } from "./accept.ts";

/**
 * Text types, which gzip makes much smaller. Event streams are not among them, since each event must arrive
 * at once.
 */
const TEXTS = /^(?:text\/(?:plain|html)|application\/(?:json|openmetrics-text))\b/;
/** Shorter responses fit into a packet or two without compression. */
const BYTES_MIN = 2048;

/**
 * Returns the response, compressed if the request accepts that and the body is a text of some length. Rejects
 * if the body cannot be read.
 */
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
