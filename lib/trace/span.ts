/** What is traced, as senders and runners of tasks see it. */

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
  /** Of its message. */
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
  /** As a W3C header. */
  readonly traceparent: string;
  /** Ends it. `error` is what the task failed with; null: it did not fail. `reason`: why it is retried, or null. */
  end(state: string, error: unknown, reason: string | null): void;
}

/** What traces. */
export interface Tracing {
  /**
   * Whether a message's headers alone say that nothing of its task is recorded: then `run` is not called for it, and it
   * is the trace of `unsampled`. A trace that begins here is drawn for, so ask once. Data lane: per message.
   */
  isUnsampled(headers: Readonly<Record<string, unknown>>): boolean;
  /** Tells of a call that is sent, and puts the context into its message's headers. */
  send(headers: Record<string, unknown>, facts: SentFacts): void;
  /** Calls `fn` with the span of a task, as the active one. Whoever calls ends the span. */
  run<T>(facts: RunFacts, fn: (span: TaskSpan) => T): T;
  /** Resolves when all spans that have ended are exported, or could not be. */
  flush(): Promise<void>;
}
