/**
 * A delivery accepted by this worker, and its state from arrival to settlement.
 *
 * There is one object per message. It is also the Job given to the pool, so that a task costs one allocation
 * here. The constructor sets all fields in one order (one hidden class).
 *
 * Source: celery 5.2.6 worker/request.py Request.
 */

import { type Deadline, shownLine } from "../../base/mod.ts";
import type { TaskSeries } from "../../metrics/mod.ts";
import type { Job } from "../../pool/mod.ts";
import { traceparentOf } from "../../trace/mod.ts";
import type { Delivery } from "../../transport/mod.ts";
import type { DeliveryInfo, EncodedMessage, TaskHeaders } from "../../wire/mod.ts";
import { RequestState, type RequestStateValue } from "./request_states.ts";
import type { Strategy } from "./strategy.ts";

/**
 * One request. Times are milliseconds: `…WallMs` since the epoch, `…MonoMs` of the monotonic clock; NaN: not
 * set.
 */
export class Request implements Job {
  readonly seq: number;
  readonly name: string;
  readonly id: string;
  readonly queue: string;
  readonly redelivered: boolean;
  timeLimit: number | null;
  softTimeLimit: number | null;
  expectedMs: number;
  /** The name in log lines: the message's `shadow`, else `name`. */
  readonly label: string;
  readonly strategy: Strategy;
  readonly delivery: Delivery;
  readonly headers: TaskHeaders;
  /** Undefined: this job is to run. A job that calls hooks after a task's end has it set. */
  readonly ended: undefined;
  /**
   * The consumer's delivery tag, and the epoch of the consumer that gave it. A tag of an older epoch settles
   * nothing.
   */
  tag: number | string;
  epoch: number;
  state: RequestStateValue;
  etaWallMs: number;
  expiresWallMs: number;
  /** True if nothing is left to settle with the broker. */
  isSettled: boolean;
  /** True if the message is settled only after the task has run. */
  isLate: boolean;
  /** The armed timer of an eta, or null. */
  deadline: Deadline | null;
  /** The process that runs it; 0: not begun. */
  pid: number;
  acceptedMonoMs: number;
  acceptedWallMs: number;
  /** The signal that `revoke(terminate)` asked for, before the task began or while it ran; null: none. */
  terminateSignal: string | null;
  /** True if its connection was lost while the pool had it. */
  isLeftover: boolean;
  /** The metrics it is counted in; null: metrics are off. */
  series: TaskSeries | null;

  constructor(seq: number, strategy: Strategy, delivery: Delivery, headers: TaskHeaders, epoch: number) {
    this.seq = seq;
    this.name = headers.task;
    this.id = headers.id;
    this.queue = delivery.queue;
    this.redelivered = delivery.info.redelivered;
    this.timeLimit = headers.timeLimit || strategy.timeLimit;
    this.softTimeLimit = headers.softTimeLimit || strategy.softTimeLimit;
    this.expectedMs = strategy.expectedMs;
    this.label = headers.shadow || headers.task;
    this.strategy = strategy;
    this.delivery = delivery;
    this.headers = headers;
    this.ended = undefined;
    this.tag = delivery.tag;
    this.epoch = epoch;
    this.state = RequestState.received;
    this.etaWallMs = NaN;
    this.expiresWallMs = NaN;
    this.isSettled = false;
    this.isLate = strategy.acksLate;
    this.deadline = null;
    this.pid = 0;
    this.acceptedMonoMs = NaN;
    this.acceptedWallMs = NaN;
    this.terminateSignal = null;
    this.isLeftover = false;
    this.series = null;
  }

  /** The message in kombu's envelope, encoded when first read if the transport has none. */
  get envelope(): string {
    return this.delivery.envelope;
  }

  /** The decoded message, for a pool that runs in this process. */
  get message(): EncodedMessage {
    return this.delivery.message;
  }

  /** Delivery information: exchange, routing key and the like. */
  get info(): DeliveryInfo {
    return this.delivery.info;
  }

  /** Fields that handlers of `signals.taskReceived` read as well, under Celery's names. */
  get stamps(): Record<string, unknown> {
    return this.headers.stamps;
  }
  get stampedHeaders(): string[] | null {
    return this.headers.stampedHeaders;
  }
  get replacedTaskNesting(): number {
    return this.headers.replacedTaskNesting;
  }

  /** The W3C traceparent header of the message; for the log. */
  get traceparent(): string | null {
    return traceparentOf(this.delivery.message.headers);
  }

  /** The queue that results go to with the rpc backend. */
  get replyTo(): string | null {
    return this.delivery.message.properties.replyTo;
  }

  /** Whether intermediate states such as STARTED are stored. */
  get storesStates(): boolean {
    return !(this.headers.ignoreResult ?? this.strategy.ignoresResults);
  }

  /** True if an earlier run may have stored SUCCESS. */
  get isGuarded(): boolean {
    return this.redelivered || this.delivery.attempts > 0;
  }

  /** `name[id]`, made one line even if name or id have line breaks. */
  get human(): string {
    return `${shownLine(this.label)}[${shownLine(this.id)}]`;
  }
}
