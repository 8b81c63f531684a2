/**
 * One run of one task: its decoded message; its request, built when it is read; the messages it has sent.
 *
 * Source: celery 5.2.6 app/task.py Context; protocol.md 1.1.
 */

import type { Disarm, Level } from "../../base/mod.ts";
import type { Signature } from "../../canvas/mod.ts";
import {
  acceptedTypes,
  carriedHeaders,
  CarriedTwins,
  decodeTaskBody,
  type DeliveryInfo,
  type EncodedMessage,
  type ExtendedMeta,
  type MessageProperties,
  type ResultTuple,
  type Retry,
  revived,
  type TaskBody,
  type TaskHeaders,
  type WireSignature,
} from "../../wire/mod.ts";
import { type Carrier, carrierOf, type TaskSpan, unsampledCarrier } from "../../trace/mod.ts";
import type { AppCore, RunnableTask } from "../core.ts";
import type { Execution } from "./execution.ts";
import type { TaskRequest } from "../call/request.ts";
import type { ResolvedTaskOptions } from "../conf/task_options.ts";
import type { ResultOwner } from "./trace_outcome.ts";

/** What a run needs from its tracer. */
export interface RunHost {
  updateState(run: Run, state: string, meta: unknown, taskId: string | null): void;
  sendEvent(run: Run, type: string, fields: Record<string, unknown>): void;
  log(run: Run, level: Level, message: string): void;
}

/** The parts of a run. */
export interface RunInit {
  readonly seq: number;
  readonly task: RunnableTask;
  readonly options: ResolvedTaskOptions;
  readonly headers: TaskHeaders;
  readonly body: TaskBody;
  /** Its message, or null if there was none. */
  readonly message: EncodedMessage | null;
  /** The message as text in kombu's envelope, made on first use; null if there is none. */
  readonly source: { readonly envelope: string } | null;
  readonly properties: MessageProperties;
  readonly info: DeliveryInfo;
  readonly hostname: string;
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  readonly isEager: boolean;
}

/** Milliseconds that a task which uses its signal has to end by itself before it is given up. */
const GRACE_MS = 1000;

/** One run. */
export class Run implements Execution, ResultOwner {
  readonly app: AppCore;
  readonly init: RunInit;
  readonly task: RunnableTask;
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
  /** When it began, monotonic milliseconds. */
  startedMs: number;
  retry: Retry | null;
  replacement: Signature | null;
  maxRetries: number | null | undefined;
  isIdle: boolean;
  /** What it returned, and what it threw, for hooks and eager results. */
  value: unknown;
  error: unknown;
  /** Its span; null if tracing is inactive or this task is not recorded. */
  span: TaskSpan | null;
  isUnsampled: boolean;
  /** The error with which it was interrupted, or null. */
  interruption: Error | null;
  /** The new trace of a run that is not recorded and whose message had no trace; made on first use. */
  #newTrace: Carrier | null;
  #request: TaskRequest | null;
  #twins: CarriedTwins | null;
  #controller: AbortController | null;
  #rejectRace: ((error: unknown) => void) | null;
  #disarm: Disarm | null;

  constructor(app: AppCore, host: RunHost, init: RunInit) {
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
    this.isIdle = false;
    this.value = null;
    this.error = null;
    this.span = null;
    this.isUnsampled = false;
    this.interruption = null;
    this.#newTrace = null;
    this.#request = null;
    this.#twins = null;
    this.#controller = null;
    this.#rejectRace = null;
    this.#disarm = null;
  }

  /** The trace of its message, or a new unrecorded one. */
  get carrier(): Carrier | null {
    const { message } = this.init;
    const came = message === null ? null : carrierOf(message.headers);
    if (came !== null || !this.isUnsampled) return came;
    return this.#newTrace ??= unsampledCarrier(this.app.world.random);
  }

  get traceparent(): string | null {
    return this.span?.traceparent ?? this.carrier?.["traceparent"] ?? null;
  }

  get label(): string {
    return this.task.label;
  }

  /** True if its result is ignored, according to the sender, else to the task. */
  get isIgnored(): boolean {
    return this.headers.ignoreResult ?? this.options.ignoreResult;
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

  /** Aborts with the interruption; created on first use. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.interruption !== null) this.#controller.abort(this.interruption);
    }
    return this.#controller.signal;
  }

  /** Settles as `promise` does, or rejects with an interruption, whichever is first. */
  race(promise: PromiseLike<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#rejectRace = reject;
      promise.then(resolve, reject);
    });
  }

  /**
   * Interrupts the run. Its signal aborts, so that a pending await which uses the signal rejects with
   * `reason`. A run that never read its signal is given up at the next turn of the loop; one that did has
   * GRACE_MS to end by itself.
   */
  interrupt(reason: Error): void {
    if (this.interruption !== null) return;
    this.interruption = reason;
    const { clock } = this.app.world;
    const waitMs = this.#controller === null ? 0 : GRACE_MS;
    this.#controller?.abort(reason);
    this.#disarm = clock.arm(clock.monoMs() + waitMs, () => this.#rejectRace?.(reason));
  }

  /** Disarms the timer, because the run has ended. */
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

  /** Returns what `result_extended` adds to its result documents. */
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

  /**
   * Returns a value in which parts that are the task's arguments, or signatures and headers of its request,
   * have the form in which they arrived. Used for a retry, and for signatures among arguments. Parts that the
   * task has changed or created stay as they are.
   */
  restored<T>(value: T): T {
    if (this.#twins === null) {
      this.#twins = new CarriedTwins();
      const { args, kwargs, embed } = this.body;
      const { request } = this;
      const { message, source } = this.init;
      if (message !== null) {
        const carried = decodeTaskBody(message, acceptedTypes(this.app.conf.accept_content), {
          carriesAll: true,
        });
        this.#twins.add([args, kwargs], [carried.args, carried.kwargs]);
      }
      if (source !== null) {
        const headers = carriedHeaders(source.envelope);
        this.#twins.add(request.headers, headers);
        this.#twins.add(request.stamps, headers["stamps"]);
      }
      const { callbacks, errbacks, chord } = embed;
      const own = [request.callbacks, request.errbacks, request.chord, request.chain];
      this.#twins.add(own, [callbacks, errbacks, chord, embed.chain?.all() ?? null]);
    }
    return this.#twins.restored(value) as T;
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
      chord: revived(body.embed.chord),
      chain: revived(body.embed.chain?.all() ?? null),
      callbacks: revived(body.embed.callbacks),
      errbacks: revived(body.embed.errbacks),
      retries: headers.retries,
      eta: headers.eta,
      expires: headers.expires,
      timeLimit: headers.timeLimit,
      softTimeLimit: headers.softTimeLimit,
      timelimit: [headers.timeLimit, headers.softTimeLimit],
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
      ignoreResult: this.isIgnored,
      replacedTaskNesting: headers.replacedTaskNesting,
      stamps: headers.stamps,
      stampedHeaders: headers.stampedHeaders,
      children: this.children,
    };
  }
}
