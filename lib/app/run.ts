/**
 * One run of one task: its message, decoded; its request, built when someone reads it; what it has sent.
 *
 * Source: celery 5.2.6 app/task.py Context; protocol.md 1.1.
 */

import type { Disarm, Level } from "../base/mod.ts";
import type { Signature } from "../canvas/mod.ts";
import type {
  DeliveryInfo,
  ExtendedMeta,
  MessageProperties,
  ResultTuple,
  Retry,
  TaskBody,
  TaskHeaders,
  WireSignature,
} from "../wire/mod.ts";
import type { App } from "./app.ts";
import type { Execution } from "./context.ts";
import type { TaskRequest } from "./request.ts";
import type { AnyTask } from "./task.ts";
import type { ResolvedTaskOptions } from "./task_options.ts";
import type { ResultOwner } from "./trace_outcome.ts";

/** What a run may ask of the tracer that runs it. */
export interface RunHost {
  updateState(run: Run, state: string, meta: unknown, taskId: string | null): void;
  sendEvent(run: Run, type: string, fields: Record<string, unknown>): void;
  log(run: Run, level: Level, message: string): void;
}

/** What a run is made of. */
export interface RunInit {
  readonly seq: number;
  readonly task: AnyTask;
  readonly options: ResolvedTaskOptions;
  readonly headers: TaskHeaders;
  readonly body: TaskBody;
  readonly properties: MessageProperties;
  readonly info: DeliveryInfo;
  readonly hostname: string;
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  readonly isEager: boolean;
}

/** Milliseconds that a task which has read its signal is given to end by itself before it is given up. */
export const GRACE_MS = 1000;

/** One run. */
export class Run implements Execution, ResultOwner {
  readonly app: App;
  readonly init: RunInit;
  readonly task: AnyTask;
  readonly options: ResolvedTaskOptions;
  readonly headers: TaskHeaders;
  readonly body: TaskBody;
  readonly id: string;
  readonly name: string;
  readonly rootId: string;
  readonly priority: number;
  readonly trail: boolean;
  readonly children: ResultTuple[];
  readonly #host: RunHost;
  /** Monotonic milliseconds at its start. */
  startedMs: number;
  retry: Retry | null;
  replacement: Signature | null;
  maxRetries: number | null | undefined;
  isOver: boolean;
  /** What it returned or threw, for hooks and eager results. */
  value: unknown;
  error: unknown;
  /** Why it was told to stop, or null. */
  interruption: Error | null;
  #request: TaskRequest | null;
  #controller: AbortController | null;
  #rejectRace: ((error: unknown) => void) | null;
  #disarm: Disarm | null;

  constructor(app: App, host: RunHost, init: RunInit) {
    this.app = app;
    this.init = init;
    this.task = init.task;
    this.options = init.options;
    this.headers = init.headers;
    this.body = init.body;
    this.id = init.headers.id;
    this.name = init.headers.task;
    this.rootId = init.headers.rootId ?? init.headers.id;
    this.priority = init.properties.priority;
    this.trail = init.options.trail;
    this.children = [];
    this.#host = host;
    this.startedMs = 0;
    this.retry = null;
    this.replacement = null;
    this.maxRetries = undefined;
    this.isOver = false;
    this.value = null;
    this.error = null;
    this.interruption = null;
    this.#request = null;
    this.#controller = null;
    this.#rejectRace = null;
    this.#disarm = null;
  }

  get label(): string {
    return this.task.label;
  }
  get group(): string | null {
    return this.headers.group;
  }
  get groupIndex(): number | null {
    return this.headers.groupIndex;
  }
  get parentId(): string | null {
    return this.headers.parentId;
  }
  get chord(): WireSignature | null {
    return this.body.embed.chord;
  }

  addChild(child: ResultTuple): void {
    if (this.trail) this.children.push(child);
  }

  /** Aborted with the interruption; made when first asked for. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.interruption !== null) this.#controller.abort(this.interruption);
    }
    return this.#controller.signal;
  }

  /** The promise's own end, or the rejection of an interruption, whichever is first. */
  race(promise: PromiseLike<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#rejectRace = reject;
      promise.then(resolve, reject);
    });
  }

  /**
   * Tells the run to stop. Its signal aborts, so that a pending await that listens rejects with `reason`. A run that
   * never read its signal is given up at the next turn of the loop; one that did has GRACE_MS to end by itself.
   */
  interrupt(reason: Error): void {
    if (this.interruption !== null) return;
    this.interruption = reason;
    const { clock } = this.app.world;
    const waitMs = this.#controller === null ? 0 : GRACE_MS;
    this.#controller?.abort(reason);
    this.#disarm = clock.arm(clock.monoMs() + waitMs, () => this.#rejectRace?.(reason));
  }

  /** It has ended: no timer stays. */
  end(): void {
    this.#rejectRace = null;
    this.#disarm?.();
    this.#disarm = null;
  }

  updateState(state: string, meta: unknown, taskId: string | null): void {
    this.#host.updateState(this, state, meta, taskId);
  }
  sendEvent(type: string, fields: Record<string, unknown>): void {
    this.#host.sendEvent(this, type, fields);
  }
  log(level: Level, message: string): void {
    this.#host.log(this, level, message);
  }

  /** What `result_extended` adds to its documents. */
  extended(): ExtendedMeta {
    const { headers, body, init } = this;
    return {
      name: this.name,
      args: body.args,
      kwargs: body.kwargs,
      worker: init.hostname,
      retries: headers.retries,
      queue: init.info.routingKey,
      stamps: headers.stampedHeaders === null ? null : headers.stamps,
    };
  }

  get request(): TaskRequest {
    if (this.#request !== null) return this.#request;
    const { headers, body, init } = this;
    const { properties } = init;
    return this.#request = {
      id: this.id,
      task: this.name,
      args: body.args,
      kwargs: body.kwargs,
      rootId: headers.rootId,
      parentId: headers.parentId,
      group: headers.group,
      groupIndex: headers.groupIndex,
      chord: body.embed.chord,
      chain: body.embed.chain?.all() ?? null,
      callbacks: body.embed.callbacks,
      errbacks: body.embed.errbacks,
      retries: headers.retries,
      eta: headers.eta,
      expires: headers.expires,
      timeLimit: headers.timeLimit,
      softTimeLimit: headers.softTimeLimit,
      deliveryInfo: {
        exchange: init.info.exchange,
        routingKey: init.info.routingKey,
        redelivered: init.info.redelivered,
        priority: properties.priority,
      },
      replyTo: properties.replyTo,
      correlationId: properties.correlationId,
      headers: headers.custom ?? {},
      properties: {
        correlation_id: properties.correlationId,
        reply_to: properties.replyTo,
        delivery_mode: properties.deliveryMode,
        priority: properties.priority,
        ...(properties.expiration === null ? {} : { expiration: properties.expiration }),
        ...properties.rest,
      },
      hostname: init.hostname,
      origin: headers.origin,
      shadow: headers.shadow,
      argsrepr: headers.argsrepr,
      kwargsrepr: headers.kwargsrepr,
      utc: true,
      isEager: init.isEager,
      calledDirectly: false,
      ignoreResult: headers.ignoreResult,
      replacedTaskNesting: headers.replacedTaskNesting,
      stamps: headers.stamps,
      stampedHeaders: headers.stampedHeaders,
      children: this.children,
    };
  }
}
