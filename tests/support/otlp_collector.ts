/** A collector of traces: receives OTLP over HTTP as JSON, and keeps the spans. */

/** A span, as tests look at it. */
export interface CollectedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly kind: number;
  /** 2 means an error. */
  readonly status: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly service: string;
  /** `traceId-spanId` of each linked span. */
  readonly links: readonly string[];
}

/** A running collector; disposing ends it. */
export interface Collector extends AsyncDisposable {
  readonly url: string;
  readonly spans: CollectedSpan[];
  /** Number of requests received. */
  readonly requests: number;
}

/** Starts a collector on a free port of 127.0.0.1. */
export function startCollector(): Collector {
  const spans: CollectedSpan[] = [];
  let requests = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    requests++;
    const body = await request.json();
    for (const { resource, scopeSpans } of body.resourceSpans) {
      const service = String(valuesOf(resource.attributes)["service.name"]);
      for (const { spans: some } of scopeSpans) {
        for (
          const { name, traceId, spanId, parentSpanId = "", kind, status, attributes, links = [] } of some
        ) {
          spans.push({
            name,
            traceId,
            spanId,
            parentSpanId,
            kind,
            status: status?.code ?? 0,
            attributes: valuesOf(attributes),
            service,
            links: links.map((link: Record<string, string>) => `${link["traceId"]}-${link["spanId"]}`),
          });
        }
      }
    }
    return Response.json({});
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    spans,
    get requests() {
      return requests;
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

function valuesOf(attributes: { key: string; value: Record<string, unknown> }[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
