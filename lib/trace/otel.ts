/**
 * Tracing with the provider registered with `@opentelemetry/api`. Names and attributes are those of Python's
 * instrumentation, so that spans from both sides of a queue look alike.
 *
 * Source: opentelemetry-instrumentation-celery (August 2026) __init__.py, utils.py.
 */

import {
  type Context,
  context,
  type Link,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { type Random, VERSION } from "../base/mod.ts";
import { carrierOf, isUnsampled, linksOf, traceparentOf, unsampledCarrier } from "./carrier.ts";
import { DRAWN } from "./sampling.ts";
import type { RunFacts, SentFacts, TaskSpan, Tracing } from "./span.ts";

const SETTER = {
  set: (headers: Record<string, unknown>, name: string, value: string) => void (headers[name] = value),
};

/** Facts about the registered provider. */
export interface OtelOptions {
  /** See `Sampling.rootRatio`; null if only the provider knows which spans it records. */
  readonly rootRatio: number | null;
  readonly random: Random;
  /** Exports all ended spans. Never rejects. */
  flush(): Promise<void>;
}

/** Traces with the registered provider. */
export class OtelTracing implements Tracing {
  readonly #options: OtelOptions;
  readonly #tracer: Tracer;

  constructor(options: OtelOptions) {
    this.#options = options;
    this.#tracer = trace.getTracer("lovage", VERSION);
    continueFetch();
  }

  flush(): Promise<void> {
    return this.#options.flush();
  }

  isUnsampled(headers: Readonly<Record<string, unknown>>): boolean {
    if (this.#options.rootRatio === null) return false;
    const traceparent = traceparentOf(headers);
    return traceparent === null ? this.#isDropped() : isUnsampled(traceparent);
  }

  send(headers: Record<string, unknown>, { name, id, routingKey }: SentFacts): void {
    let parent = context.active();
    if (trace.getSpan(parent) === undefined) {
      // Outside a task the headers may name the parent: the body of a chord continues the trace of its last
      // member.
      if (this.isUnsampled(headers)) {
        if (traceparentOf(headers) === null) Object.assign(headers, unsampledCarrier(this.#options.random));
        return;
      }
      const from = carrierOf(headers);
      parent = from === null ? this.#newRoot(parent) : propagation.extract(parent, from);
    }
    const kind = SpanKind.PRODUCER;
    const span = this.#tracer.startSpan(`apply_async/${name}`, { kind, links: linked(headers) }, parent);
    if (span.isRecording()) {
      span.setAttributes({
        "celery.action": "apply_async",
        "celery.task_name": name,
        "messaging.message.id": id,
        "messaging.destination": routingKey,
        "messaging.destination_kind": "queue",
      });
    }
    propagation.inject(trace.setSpan(parent, span), headers, SETTER);
    span.end();
  }

  run<T>(facts: RunFacts, fn: (span: TaskSpan) => T): T {
    const carrier = carrierOf(facts.headers);
    const parent = carrier === null
      ? this.#newRoot(ROOT_CONTEXT)
      : propagation.extract(ROOT_CONTEXT, carrier);
    const kind = SpanKind.CONSUMER;
    const span = this.#tracer.startSpan(`run/${facts.name}`, { kind, links: linked(facts.headers) }, parent);
    if (span.isRecording()) describe(span, facts);
    return context.with(trace.setSpan(parent, span), fn, undefined, new RunningSpan(span));
  }

  /** Returns the parent context of a trace that starts here and has been chosen for recording. */
  #newRoot(under: Context): Context {
    return this.#options.rootRatio === null ? under : under.setValue(DRAWN, true);
  }

  /** Decides at random whether to drop a trace that starts here. */
  #isDropped(): boolean {
    const ratio = this.#options.rootRatio!;
    return ratio < 1 && this.#options.random.fraction() >= ratio;
  }
}

const TRACEPARENT = /^00-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})$/;

/**
 * Returns links to the spans that a message's headers name: the body of a chord links to the tasks of its
 * header.
 */
function linked(headers: Readonly<Record<string, unknown>>): Link[] {
  return linksOf(headers).flatMap((traceparent) => {
    const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
    if (traceId === undefined || spanId === undefined) return [];
    return [{ context: { traceId, spanId, traceFlags: parseInt(flags!, 16), isRemote: true } }];
  });
}

function describe(span: Span, { name, id, hostname, routingKey, correlationId, retries }: RunFacts): void {
  span.setAttributes({
    "celery.action": "run",
    "celery.task_name": name,
    "celery.hostname": hostname,
    "messaging.message.id": id,
    "messaging.destination": routingKey,
    "messaging.destination_kind": "queue",
    ...(correlationId === null ? {} : { "messaging.conversation_id": correlationId }),
    ...(retries > 0 ? { "celery.retries": retries } : {}),
  });
}

class RunningSpan implements TaskSpan {
  readonly #span: Span;
  readonly traceId: string;
  readonly spanId: string;
  readonly #flags: number;

  constructor(span: Span) {
    const { traceId, spanId, traceFlags } = span.spanContext();
    this.#span = span;
    this.traceId = traceId;
    this.spanId = spanId;
    this.#flags = traceFlags;
  }

  get isSampled(): boolean {
    return (this.#flags & 1) === 1;
  }

  get traceparent(): string {
    return `00-${this.traceId}-${this.spanId}-${this.#flags.toString(16).padStart(2, "0")}`;
  }

  end(state: string, error: unknown, reason: string | null): void {
    const span = this.#span;
    if (span.isRecording()) {
      span.setAttribute("celery.state", state);
      if (reason !== null) span.setAttribute("celery.retry.reason", reason);
      if (error !== null) {
        const exception = error instanceof Error ? error : new Error(String(error));
        span.recordException(exception);
        span.setStatus({ code: SpanStatusCode.ERROR, message: exception.message });
      }
    }
    span.end();
  }
}

/**
 * Wraps `fetch`: in a traced task, a request continues the task's trace unless it has a `traceparent`
 * already.
 */
function continueFetch(): void {
  const original = globalThis.fetch;
  globalThis.fetch = (input: Request | URL | string, init?: RequestInit) => {
    if (trace.getActiveSpan() === undefined) return original(input, init);
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
    if (headers.has("traceparent")) return original(input, init);
    propagation.inject(context.active(), headers, { set: (all, name, value) => all.set(name, value) });
    return original(input, { ...init, headers });
  };
}
