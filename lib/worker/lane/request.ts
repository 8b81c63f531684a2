/**
 * A delivery accepted by this worker: what is known of it from its arrival to its settlement.
 *
 * One object per message; it is also the Job that the pool is given, so that a task costs one allocation here. All
 * fields are set in the constructor in one order (one hidden class).
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

/** One request. Times are milliseconds: `…WallMs` since the epoch, `…MonoMs` of the monotonic clock; NaN: none. */
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
  /** It is to run. */
  readonly ended: undefined;
  /** The consumer's handle, and the number of the consumer that gave it: an older one's handle settles nothing. */
  tag: number | string;
  epoch: number;
  state: RequestStateValue;
  etaWallMs: number;
  expiresWallMs: number;
  /** Nothing is left to settle with the broker. */
  isSettled: boolean;
  /** Settled with the broker only after it ran. */
  isLate: boolean;
  /** The armed deadline of an eta, or null. */
  deadline: Deadline | null;
  /** 0: not begun. */
  pid: number;
  acceptedMonoMs: number;
  acceptedWallMs: number;
  /** `revoke(terminate)` asked for this signal before or while it ran; null: did not. */
  terminateSignal: string | null;
  /** Its connection was lost while the pool had it. */
  isLeftover: boolean;
  /** Where it is counted; null: metrics are off. */
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

  /** The message in kombu's envelope; made when first read if the transport has none at hand. */
  get envelope(): string {
    return this.delivery.envelope;
  }

  /** The same decoded, with how it travelled, for a pool that does not cross a process. */
  get message(): EncodedMessage {
    return this.delivery.message;
  }

  /** How it travelled. */
  get info(): DeliveryInfo {
    return this.delivery.info;
  }

  /** What `signals.taskReceived` shows besides, under Celery's names. */
  get stamps(): Record<string, unknown> {
    return this.headers.stamps;
  }
  get stampedHeaders(): string[] | null {
    return this.headers.stampedHeaders;
  }
  get replacedTaskNesting(): number {
    return this.headers.replacedTaskNesting;
  }

  /** The W3C header of the trace that it was sent in; for the log. */
  get traceparent(): string | null {
    return traceparentOf(this.delivery.message.headers);
  }

  /** Where results of rpc go. */
  get replyTo(): string | null {
    return this.delivery.message.properties.replyTo;
  }

  /** STARTED and the like are stored. */
  get storesStates(): boolean {
    return !(this.headers.ignoreResult ?? this.strategy.ignoresResults);
  }

  /** True where an earlier run may have stored SUCCESS. */
  get isGuarded(): boolean {
    return this.redelivered || this.delivery.attempts > 0;
  }

  /** `name[id]`, on one line whatever they hold. */
  get human(): string {
    return `${shownLine(this.label)}[${shownLine(this.id)}]`;
  }
}
