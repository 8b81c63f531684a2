/** Tracing as senders and runners of tasks see it. */

/** A call on its way to the broker. */
export interface SentFacts {
  readonly name: string;
  readonly id: string;
  readonly routingKey: string;
}

/** A task that begins. */
export interface RunFacts {
  readonly name: string;
  readonly id: string;
  /** The headers of its message. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly hostname: string;
  readonly routingKey: string;
  readonly correlationId: string | null;
  readonly retries: number;
}

/** The span of a running task. */
export interface TaskSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly isSampled: boolean;
  /** The span as a W3C `traceparent` header. */
  readonly traceparent: string;
  /**
   * Ends the span. `error`: the task's error, null if it did not fail. `reason`: why the task is retried, or
   * null.
   */
  end(state: string, error: unknown, reason: string | null): void;
}

/** The interface to tracing. `activeTracing` returns the active one. */
export interface Tracing {
  /**
   * Returns true if a message's headers are enough to know that its task is not recorded. Then `run` must not
   * be called for it; its trace is that of `TracingOptions.unsampled`. Call it once per task: for a trace
   * that starts here it makes a random draw. Data lane: per message.
   */
  isUnsampled(headers: Readonly<Record<string, unknown>>): boolean;
  /** Records the sending of a call, and puts the trace context into the headers of its message. */
  send(headers: Record<string, unknown>, facts: SentFacts): void;
  /** Calls `fn` with the span of a task, which is active meanwhile. The caller ends the span. */
  run<T>(facts: RunFacts, fn: (span: TaskSpan) => T): T;
  /** Resolves when all ended spans have been exported, or could not be. Never rejects. */
  flush(): Promise<void>;
}
