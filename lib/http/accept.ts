/**
 * Reads the headers of the Accept family.
 *
 * Source: RFC 9110 section 12.4.2, 12.5.
 */

import { OPENMETRICS_TYPE, TEXT_TYPE } from "../metrics/mod.ts";

/** Returns the highest quality that a header gives `name`, from 0 to 1; null if it does not name it. */
function qualityOf(header: string, name: string): number | null {
  let most: number | null = null;
  for (const item of header.toLowerCase().split(",")) {
    const [word, ...parameters] = item.split(";").map((part) => part.trim());
    if (word !== name) continue;
    const q = parameters.find((parameter) => parameter.startsWith("q="));
    const quality = q === undefined ? 1 : Number(q.slice(2));
    if (quality >= 0) most = Math.max(most ?? 0, quality);
  }
  return most;
}

/** Whether OpenMetrics is accepted, and preferred at least as much as Prometheus' own format. */
export function wantsOpenMetrics({ headers }: Request): boolean {
  const accept = headers.get("accept") ?? "";
  const wanted = qualityOf(accept, bare(OPENMETRICS_TYPE)) ?? 0;
  return wanted > 0 && wanted >= (qualityOf(accept, bare(TEXT_TYPE)) ?? 0);
}

/** Whether a response may be compressed with gzip. */
export function takesGzip({ headers }: Request): boolean {
  return (qualityOf(headers.get("accept-encoding") ?? "", "gzip") ?? 0) > 0;
}

function bare(type: string): string {
  return type.slice(0, type.indexOf(";"));
}
