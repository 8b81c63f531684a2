/** The header `traceparent`, which names a trace and a span in it. Source: W3C Trace Context. */

const FORM = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/;

/** The contents of the header; ids are in hexadecimal. */
export interface TraceIds {
  readonly traceId: string;
  readonly spanId: string;
  /** True if the trace's spans are recorded. */
  readonly isSampled: boolean;
}

/** Reads the header; null if it is absent or invalid. */
export function traceIds(traceparent: string | null | undefined): TraceIds | null {
  const found = traceparent ? FORM.exec(traceparent) : null;
  if (found === null) return null;
  return { traceId: found[1]!, spanId: found[2]!, isSampled: (parseInt(found[3]!, 16) & 1) === 1 };
}
