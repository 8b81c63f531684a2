/**
 * The data lane: from a batch of deliveries to jobs in the pool. No promise, timer or closure per message.
 *
 *     onDeliveries(batch) ─► strategy ─► Request ─┬─► held until due ─► (parked: the broker's again)
 *                                                 ├─► waits for a token
 *                                                 └─► ready ─► pool.submit ─► settle.ts
 *
 * Source: celery 5.2.6 worker/consumer/consumer.py create_task_handler, worker/strategy.py default; protocol.md 8.1,
 * 8.2, 8.10.
 */

import { errorText, Ring } from "../../base/mod.ts";
import { hostLabel } from "../../metrics/mod.ts";
import type { Job } from "../../pool/mod.ts";
import type { ConsumerEvents, Delivery, Undecodable } from "../../transport/mod.ts";
import { decodeTaskHeaders, parseIso, strictRepr, type TaskHeaders } from "../../wire/mod.ts";
import { mayBeTaskBody } from "./body_shape.ts";
import type { LaneParts } from "./parts.ts";
import type { Refusals } from "./refusals.ts";
import { Request } from "./request.ts";
import { advance, RequestState } from "./request_states.ts";
import type { Strategy } from "./strategy.ts";
import { Pending } from "./pending.ts";
import { WINDOW_MAX } from "./window.ts";

/** When a task has run this long while more than Celery's prefetch waits, the surplus is given back. */
const OVERSTOCK_MS = 100;
/** How soon fetching is tried again while the result store or the finalizer is full. */
const CONGESTED_MS = 50;

/** The logger of received tasks. Source: celery 5.2.6 worker/strategy.py. */
const LOGGER = "celery.worker.strategy";
const OF_REQUEST = { logger: "celery.worker.request" };

/** Takes deliveries and hands requests to the pool. */
export class Lane implements Pick<ConsumerEvents, "onDeliveries" | "onUndecodable"> {
  /** Requests that are not due yet, or whose rate is limited. */
  readonly pending: Pending;
  /** Called after each batch of deliveries; used by the autoscaler. */
  onReserved: (() => void) | null = null;
  #parts: LaneParts;
  #refusals: Refusals;
  #ready = new Ring<Request>();
  #isOpen = false;
  #isDispatching = false;
  #overstockArmed = false;
  #congestedArmed = false;
  #logsInfo = false;
  #sentPrefetch = -1;
  /** Context of a log line: its logger and its request. */
  #context = { logger: LOGGER, about: null as Request | null };
  /** The host label of metrics. */
  #host: string;

  constructor(parts: LaneParts, refusals: Refusals) {
    this.#parts = parts;
    this.#refusals = refusals;
    this.#host = hostLabel(parts.options.hostname);
    this.pending = new Pending(parts, (request) => this.#ready.push(request), () => this.#turn());
  }

  /** Number of requests that wait for a slot. */
  get readyCount(): number {
    return this.#ready.length;
  }

  /** Number of requests held and not begun: ready, not yet due, or rate limited. */
  get waitingCount(): number {
    return this.#ready.length + this.pending.size;
  }

  /** Returns the requests not begun, oldest first; for `inspect reserved` and `scheduled`. */
  waiting(): Request[] {
    return [...this.#ready.toArray(), ...this.pending.toArray()].sort((a, b) => a.seq - b.seq);
  }

  /** Sets a task type's rate limit in tasks a second; 0 lifts it. Applies to waiting requests too. */
  setRateLimit(strategy: Strategy, perSecond: number): void {
    this.pending.setRateLimit(strategy, perSecond);
  }

  /** Starts to hand jobs to the pool. */
  open(): void {
    this.#isOpen = true;
    this.dispatch();
  }

  /** Stops handing jobs to the pool; deliveries that still come are given back. */
  close(): void {
    this.#isOpen = false;
  }

  /** Returns how many more messages may be taken now. The consumer asks before each fetch. */
  window(): number {
    const { state, options, pool, backend, finalizer } = this.#parts;
    if (!this.#isOpen) return 0;
    if (backend.isCongested || finalizer.isFull) {
      this.#lookAgain();
      return 0;
    }
    if (options.isPrefetchOff) return Math.max(0, pool.free - this.#ready.length - this.pending.limitedCount);
    return Math.max(0, this.prefetch() - state.unsettled);
  }

  /** Returns how many unsettled messages this worker may hold now: AMQP's prefetch count. */
  prefetch(): number {
    const { state, options, window } = this.#parts;
    const limit = options.reducesWindow ? window.reduced(state.leftovers) : window.limit;
    const held = state.etaHeld;
    if (held === 0) return Math.min(WINDOW_MAX, limit);
    // The next message may have an eta too: take none until one of those held has left.
    if (held >= options.etaMax) return options.etaMax;
    return Math.min(WINDOW_MAX, limit + held, Math.max(limit, options.etaMax));
  }

  /** Sends the prefetch count to the broker if it has changed. Data lane: per batch. */
  sendPrefetch(): void {
    const { state, world } = this.#parts;
    const count = this.prefetch();
    if (count === this.#sentPrefetch || state.consumer === null) return;
    this.#sentPrefetch = count;
    if (world.log.isOn("DEBUG")) world.log.debug(`basic.qos: prefetch_count->${count}`);
    state.consumer.setPrefetch(count);
  }

  /** Whether no request waits, and a slot is free or will be once the ending task has left it. */
  get hasSlotForNext(): boolean {
    const { state, pool } = this.#parts;
    return this.#isOpen && this.#ready.length === 0 && state.inPool.size <= pool.size;
  }

  /** Takes a batch from the consumer, oldest first. Data lane. */
  onDeliveries(batch: Delivery[]): void {
    const { state, world } = this.#parts;
    state.receivedMonoMs = world.clock.monoMs();
    state.unsettled += batch.length;
    if (!this.#isOpen) return this.#giveBackUnread(batch);
    this.#logsInfo = world.log.isOn("INFO");
    for (let i = 0; i < batch.length; i++) this.#receive(batch[i]!);
    this.dispatch();
    if (this.onReserved !== null) this.onReserved();
    this.sendPrefetch();
  }

  /** Takes a message that could not be read as an envelope. */
  onUndecodable(message: Undecodable): void {
    this.#parts.state.receivedMonoMs = this.#parts.world.clock.monoMs();
    this.#parts.state.unsettled++;
    this.#refusals.broken(message);
  }

  #receive(delivery: Delivery): void {
    const { state } = this.#parts;
    const { unsettled } = state;
    let request: Request | null;
    try {
      request = this.#requestOf(delivery);
    } catch (error) {
      // An error caused by a message ends that message, never the worker.
      return this.#refusals.unreadable(delivery, error, state.unsettled < unsettled);
    }
    if (request === null) return;
    try {
      this.#admit(request);
    } catch (error) {
      if (request.state !== RequestState.received) throw error;
      advance(request, RequestState.done);
      this.#refusals.unreadable(delivery, error, false);
    }
  }

  /** Reads the parts of a message that need no slot. Returns null if it cannot run here; it is settled. */
  #requestOf(delivery: Delivery): Request | null {
    // Checked before anything is read, unless the message may be the copy of a request that still runs here.
    if (
      delivery.attempts > 0 && this.#parts.state.orphans.size === 0 && this.#refusals.isExhausted(delivery)
    ) {
      return this.#refusals.exhausted(delivery);
    }
    const message = delivery.message;
    // Headers that are `None` in Python arrive as null.
    const headers = message.headers as Record<string, unknown> | null;
    const name = headers === null ? undefined : headers["task"];
    let task: TaskHeaders | null;
    if (!this.#parts.options.accept.has(message.contentType)) return this.#refusals.disallowed(delivery);
    if (typeof name === "string" && !this.#parts.strategies.has(name)) {
      return this.#refusals.unknownTask(delivery, name, null);
    }
    try {
      task = typeof name === "string" ? decodeTaskHeaders(message) : null;
      if (task === null || !mayBeTaskBody(message, task.compression !== null)) {
        task = this.#refusals.decodeFully(delivery, task);
        if (task === null) return null;
      }
    } catch (error) {
      return this.#refusals.invalidTask(delivery, error);
    }
    const strategy = this.#parts.strategies.get(task.task);
    if (strategy === undefined) return this.#refusals.unknownTask(delivery, task.task, task.id);
    const request = new Request(++this.#parts.state.seq, strategy, delivery, task, this.#parts.state.epoch);
    try {
      if (task.eta !== null) request.etaWallMs = parseIso(task.eta, { assumeUtc: true });
    } catch (error) {
      return this.#refusals.invalidTask(delivery, `invalid ETA value '${task.eta}': ${errorText(error)}`);
    }
    try {
      if (task.expires !== null) request.expiresWallMs = parseIso(task.expires, { assumeUtc: true });
    } catch (error) {
      return this.#refusals.invalidTask(
        delivery,
        `invalid expires value '${task.expires}': ${errorText(error)}`,
      );
    }
    return request;
  }

  #admit(request: Request): void {
    const { state, options, events, signals, metrics } = this.#parts;
    if (state.orphans.size > 0) {
      if (this.#isOrphanCopy(request)) return;
      if (this.#refusals.isExhausted(request.delivery)) {
        advance(request, RequestState.done);
        this.#refusals.exhausted(request.delivery);
        return;
      }
    }
    const isNews = !request.delivery.wasReported;
    if (metrics !== null) {
      request.series = metrics.of(request.strategy.name, this.#host, request.queue);
      request.series.isKnown = true;
    }
    if (this.#logsInfo && isNews) this.#logReceived(request);
    if (this.isDiscarded(request)) return this.discard(request);
    if (signals.taskReceived !== null && isNews) signals.taskReceived(request);
    if (isNews && request.series !== null) request.series.received++;
    if (isNews && events.wants(request)) {
      const task = request.headers;
      events.task("task-received", request, {
        name: request.label,
        // Celery's workers do not send the queue; monitors use it as a label.
        queue: request.queue,
        args: task.argsrepr,
        kwargs: task.kwargsrepr,
        root_id: task.rootId,
        parent_id: task.parentId,
        retries: task.retries,
        eta: task.eta,
        expires: task.expires,
      });
    }
    if (options.deduplicates && request.isLate && request.isGuarded) {
      advance(request, RequestState.checking);
      // A task that was acknowledged here after its success has nothing left to send.
      if (this.#parts.successful.has(request.id)) return this.#afterCheck(request, true);
      this.#parts.finalizer.deduplicate(request, this.#afterCheck);
      return;
    }
    this.#queue(request);
  }

  #logReceived(request: Request): void {
    this.#context.about = request;
    this.#parts.world.log.emit("INFO", `Task ${request.human} received`, this.#context);
  }

  #queue(request: Request): void {
    // NaN: no eta.
    if (request.strategy.bucket !== null || !Number.isNaN(request.etaWallMs)) {
      return this.pending.admit(request);
    }
    advance(request, RequestState.reserved);
    this.#ready.push(request);
  }

  // One function for all requests, so that none is made per message.
  #afterCheck = (request: Request, hasSucceeded: boolean): void => {
    if (request.state !== RequestState.checking) return;
    if (request.epoch !== this.#parts.state.epoch) return advance(request, RequestState.done);
    if (!this.#isOpen) {
      if (this.#giveBack(request)) this.#parts.state.restored++;
      return;
    }
    if (hasSucceeded) {
      this.#parts.world.log.info(`Task ${request.human} Task already completed successfully.`);
      advance(request, RequestState.done);
      this.#parts.state.ack(request);
      this.#wake();
      return;
    }
    this.#queue(request);
    this.dispatch();
  };

  /** Whether a request is revoked or has expired. Data lane: twice per message. */
  isDiscarded(request: Request): boolean {
    const expires = request.expiresWallMs;
    if (expires === expires && expires < this.#parts.world.clock.wallMs()) {
      this.#parts.revoked.add(request.id);
      return true;
    }
    const { revoked, revokedStamps } = this.#parts;
    if (revoked.size > 0 && revoked.has(request.id)) return true;
    return revokedStamps.size > 0 && revokedStamps.find(request.headers.stamps) !== null;
  }

  /** Ends a revoked or expired request that was not begun. */
  discard(request: Request): void {
    const expired = request.expiresWallMs < this.#parts.world.clock.wallMs();
    const stamp = this.#parts.revokedStamps.find(request.headers.stamps);
    const by = stamp === null ? null : strictRepr({ [stamp]: request.headers.stamps[stamp] });
    const why = by === null ? "" : ` (revoked by header: ${by})`;
    this.#parts.world.log.emit("INFO", `Discarding revoked task: ${request.human}${why}`, OF_REQUEST);
    advance(request, RequestState.done);
    this.#parts.finalizer.revoke(request, { reason: expired ? "expired" : "revoked", signum: null });
  }

  /** Hands jobs to the pool as far as it has room. Its callbacks may call this. Data lane: per batch. */
  dispatch(): void {
    if (this.#isDispatching) return;
    this.#isDispatching = true;
    const { pool, state } = this.#parts;
    try {
      while (this.#isOpen && this.#ready.length > 0) {
        const free = pool.free;
        if (free <= 0) break;
        const jobs: Job[] = [];
        while (jobs.length < free) {
          const request = this.#ready.shift();
          if (request === undefined) break;
          if (this.isDiscarded(request)) {
            this.discard(request);
            continue;
          }
          request.expectedMs = request.strategy.expectedMs;
          advance(request, RequestState.submitted);
          state.inPool.set(request.seq, request);
          jobs.push(request);
        }
        if (jobs.length > 0) {
          if (this.#parts.world.log.isOn("DEBUG")) this.#logApply(jobs);
          pool.submit(jobs);
        }
      }
    } finally {
      this.#isDispatching = false;
    }
    if (!this.#overstockArmed && this.#ready.length > this.#parts.window.base) this.#watchOverstock();
  }

  #logApply(jobs: readonly Job[]): void {
    for (const job of jobs) {
      const { argsrepr, kwargsrepr } = (job as Request).headers;
      this.#parts.world.log.debug(
        `TaskPool: Apply ${job.name}[${job.id}] (args:${argsrepr} kwargs:${kwargsrepr})`,
      );
    }
  }

  /** Takes back a job that the pool did not begin, and puts it first in line. */
  onReturned(request: Request): void {
    this.#parts.state.inPool.delete(request.seq);
    advance(request, RequestState.reserved);
    request.pid = 0;
    this.#ready.unshift(request);
  }

  #watchOverstock(): void {
    this.#overstockArmed = true;
    this.#parts.timers.armIn(OVERSTOCK_MS, () => {
      this.#overstockArmed = false;
      const window = this.#parts.window;
      if (!this.#isOpen || this.#ready.length <= window.base) return;
      if (this.#runsLong()) {
        window.shrink(OVERSTOCK_MS);
        while (this.#ready.length > window.base) this.#giveBack(this.#ready.pop()!);
        return;
      }
      this.#watchOverstock();
    });
  }

  #runsLong(): boolean {
    const before = this.#parts.world.clock.monoMs() - OVERSTOCK_MS;
    for (const request of this.#parts.state.inPool.values()) {
      if (request.acceptedMonoMs <= before) return true;
    }
    return false;
  }

  /**
   * Gives back all requests not begun, newest first, so that the broker's queue keeps its order. Returns
   * their number. Requests that the pool returned after their early acknowledgement are published again.
   */
  giveBackWaiting(): number {
    const all = this.waiting().reverse();
    this.#ready.clear();
    this.pending.clear();
    let count = 0;
    for (const request of all) if (this.#giveBack(request)) count++;
    this.#parts.state.restored += count;
    return count;
  }

  #giveBack(request: Request): boolean {
    advance(request, RequestState.done);
    if (request.isSettled) {
      this.#parts.finalizer.republish(request.delivery);
      return true;
    }
    return this.#parts.state.reject(request, "restore");
  }

  #giveBackUnread(batch: readonly Delivery[]): void {
    const { state } = this.#parts;
    for (let i = batch.length - 1; i >= 0; i--) {
      if (state.orphans.size > 0 && this.#settlesOrphan(batch[i]!)) continue;
      state.unsettled--;
      state.restored++;
      state.consumer?.reject(batch[i]!.tag, "restore");
    }
  }

  /** Takes care of the copy of a request that has finished or still runs here, else returns false. */
  #settlesOrphan(delivery: Delivery): boolean {
    const name = (delivery.message.headers as Record<string, unknown> | null)?.["task"];
    const strategy = typeof name === "string" ? this.#parts.strategies.get(name) : undefined;
    if (strategy === undefined) return false;
    try {
      const task = decodeTaskHeaders(delivery.message);
      if (task === null) return false;
      const copy = new Request(++this.#parts.state.seq, strategy, delivery, task, this.#parts.state.epoch);
      return this.#isOrphanCopy(copy);
    } catch {
      // Not a task of this worker: it goes back unchanged.
      return false;
    }
  }

  /**
   * Called when the connection is lost. Forgets requests not begun, since the broker delivers them again, and
   * records running late-acknowledged requests as orphans, so that their copies do not run at the same time.
   */
  detach(): void {
    const { state } = this.#parts;
    state.consumer = null;
    state.epoch++;
    state.unsettled = 0;
    this.#sentPrefetch = -1;
    for (const request of this.waiting()) {
      if (request.isSettled && request.state === RequestState.reserved) continue;
      request.isSettled = true;
      advance(request, RequestState.done);
    }
    const kept = this.#ready.toArray().filter((request) => request.state === RequestState.reserved);
    this.#ready.clear();
    for (const request of kept) this.#ready.push(request);
    this.pending.clear();
    for (const request of state.inPool.values()) {
      if (!request.isSettled) state.orphans.add(request);
      if (!request.isLeftover) state.leftovers++;
      request.isLeftover = true;
    }
  }

  #isOrphanCopy(copy: Request): boolean {
    const { state } = this.#parts;
    const found = state.orphans.take(copy);
    if (found === undefined) return false;
    advance(copy, RequestState.done);
    if (found === null || found.isSettled) {
      state.ack(copy);
      return true;
    }
    // The request still runs here: its end will settle the copy.
    found.tag = copy.tag;
    found.epoch = copy.epoch;
    return true;
  }

  #turn(): void {
    this.dispatch();
    this.sendPrefetch();
    this.#wake();
  }

  #lookAgain(): void {
    if (this.#congestedArmed) return;
    this.#congestedArmed = true;
    this.#parts.timers.armIn(CONGESTED_MS, () => {
      this.#congestedArmed = false;
      this.#wake();
    });
  }

  #wake(): void {
    this.#parts.state.consumer?.wake();
  }
}
