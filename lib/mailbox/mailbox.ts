/**
 * The asking side of remote control, over one connection: publishes a request to every node, gathers the
 * replies, and stops waiting when all nodes have answered.
 *
 * To know how many nodes there are, it asks the broker for the number of listeners of the fanout exchange
 * (Redis, sqlite, memory). If the broker cannot count them (AMQP), the replies count as complete when none
 * has come for a while.
 *
 * Source: kombu 5.2.4 pidbox.py Mailbox._broadcast, _publish, _collect; protocol.md 6.1, 6.2.
 */

import { atMost, type Deadline, errorText, TimerHeap, type World } from "../base/mod.ts";
import type { SilentNodes } from "../app/mod.ts";
import type { Binding, Connection, Note, Subscription } from "../transport/mod.ts";
import { decodeMailboxReply, encodeMailboxRequest } from "../wire/mod.ts";
import { matches } from "./matcher.ts";
import {
  MAILBOX_DEFAULTS,
  type MailboxSettings,
  nodeOfQueue,
  replyExchangeName,
  replyQueue,
  requestExchange,
} from "./places.ts";

/** If the broker cannot count: the shortest time without a reply that ends the wait. */
const QUIET_MS = 250;
/** If the broker cannot count: the time is this many times the longest gap between replies. */
const QUIET_FACTOR = 4;
/** How long to look for the names of silent nodes. */
const NAMES_MS = 500;

/** The logical clock that messages carry. */
export interface MailboxClock {
  forward(): number;
  adjust(other: number): number;
}

/** Options of a mailbox. */
export interface MailboxOptions {
  readonly settings?: MailboxSettings;
  readonly clock: MailboxClock;
}

/** A request. */
export interface Ask {
  readonly command: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  /** Node names; null or empty: all nodes, or those that `pattern` selects. */
  readonly destination?: readonly string[] | null;
  readonly pattern?: string | null;
  readonly matcher?: "glob" | "pcre" | null;
  /** Milliseconds without a reply after which the wait ends, even if replies are missing. Default 1000. */
  readonly timeoutMs?: number;
  /** Number of replies that ends the wait. */
  readonly limit?: number | null;
  /** Called with each reply as it comes. */
  readonly onReply?: (node: string, reply: unknown) => void;
  readonly abort?: AbortSignal;
}

/** The result of a request. */
export interface Answer {
  /** Nodes and replies, in the order they came; a name that two nodes share appears twice. */
  readonly replies: readonly (readonly [node: string, reply: unknown])[];
  /** Nodes that exist, or were named, and did not answer in time. */
  readonly silent: SilentNodes;
}

interface Pending {
  readonly replies: [string, unknown][];
  readonly onReply: ((node: string, reply: unknown) => void) | null;
  /** Number of replies that ends the wait; Infinity: not known. */
  expected: number;
  /** Milliseconds without a reply that end the wait. */
  patienceMs: number;
  /** If the number is not known: when the last reply came, and the longest gap. */
  isCounted: boolean;
  lastMs: number;
  gapMs: number;
  deadline: Deadline | null;
  /** Ends the wait, with an error or with the replies there are. */
  finish: ((error?: unknown) => void) | null;
}

/** A client of remote control. The connection belongs to the caller; `close` ends only the mailbox. */
export class Mailbox {
  readonly settings: MailboxSettings;
  #world: World;
  #connection: Connection;
  #clock: MailboxClock;
  #timers: TimerHeap;
  #id: string;
  #pending = new Map<string, Pending>();
  #listening: Promise<Subscription> | null = null;
  #askers = 0;
  #isDeclared = false;

  constructor(world: World, connection: Connection, options: MailboxOptions) {
    this.settings = options.settings ?? MAILBOX_DEFAULTS;
    this.#world = world;
    this.#connection = connection;
    this.#clock = options.clock;
    this.#timers = new TimerHeap(world.clock);
    this.#id = world.random.id();
    void connection.lost.then((error) => {
      for (const pending of this.#pending.values()) pending.finish?.(error ?? undefined);
    });
  }

  /** Sends a request without waiting for replies. Rejects with the broker's error, or EncodeError. */
  async send(ask: Ask): Promise<void> {
    await this.#declare();
    await this.#publish(ask, null);
  }

  /**
   * Sends a request and gathers its replies. The reply queue exists before the request is sent, and is
   * deleted with the last wait. Rejects with ConnectionLost and other broker errors, with EncodeError, and
   * with the abort signal's reason.
   */
  async ask(ask: Ask): Promise<Answer> {
    ask.abort?.throwIfAborted();
    const ticket = this.#world.random.id();
    this.#askers++;
    try {
      const subscribing = this.#listening ??= this.#connection.subscribe(
        replyQueue(this.#id, this.settings),
        (note) => this.#onNote(note),
      );
      await Promise.all([this.#declare(), subscribing]);
      return await this.#gather(ask, ticket);
    } finally {
      this.#pending.delete(ticket);
      if (--this.#askers === 0) await this.#stopListening();
    }
  }

  /**
   * Ends open waits (they resolve with the replies there are) and deletes the reply queue. A second call has
   * no effect.
   */
  async close(): Promise<void> {
    for (const pending of this.#pending.values()) pending.finish?.();
    await this.#stopListening();
    this.#timers.close();
  }

  async #gather(ask: Ask, ticket: string): Promise<Answer> {
    const named = [...new Set(ask.destination ?? [])];
    const pending: Pending = {
      replies: [],
      onReply: ask.onReply ?? null,
      expected: ask.limit ?? (named.length > 0 ? named.length : Infinity),
      patienceMs: ask.timeoutMs ?? 1000,
      isCounted: true,
      lastMs: this.#world.clock.monoMs(),
      gapMs: 0,
      deadline: null,
      finish: null,
    };
    const { promise: finished, resolve, reject } = Promise.withResolvers<void>();
    finished.catch(() => {});
    const finish = (error?: unknown): void => error === undefined ? resolve() : reject(error);
    pending.finish = finish;
    this.#pending.set(ticket, pending);
    const onAbort = (): void => finish(ask.abort!.reason);
    ask.abort?.addEventListener("abort", onAbort, { once: true });
    // A broker that accepts no messages at present delays the request; the wait must end in time
    // nevertheless.
    this.#arm(pending, pending.patienceMs);
    let count: number | null = null;
    try {
      count = await Promise.race([this.#send(ask, ticket, pending), finished.then(() => null)]);
      await finished;
    } finally {
      ask.abort?.removeEventListener("abort", onAbort);
      this.#timers.disarm(pending.deadline);
    }
    return { replies: pending.replies, silent: await this.#silent(ask, pending, count) };
  }

  /**
   * Publishes a request and returns the number of its listeners, or null if the broker does not know it. The
   * wait for replies begins here.
   */
  async #send(ask: Ask, ticket: string, pending: Pending): Promise<number | null> {
    const isForAll = pending.expected === Infinity;
    // Both are sent in one turn, so that each listener counted receives the request.
    const counting = this.#connection.listeners(requestExchange(this.settings).name);
    counting.catch(() => {});
    await this.#publish(ask, ticket);
    const count = await counting;
    // The request has ended meanwhile.
    if (this.#pending.get(ticket) !== pending) return count;
    if (count === 0) pending.finish?.();
    if (isForAll && count !== null) pending.expected = await this.#meant(ask, count);
    pending.isCounted = !isForAll || count !== null;
    if (pending.replies.length >= pending.expected) pending.finish?.();
    pending.lastMs = this.#world.clock.monoMs();
    this.#arm(pending, this.#patience(pending));
    return count;
  }

  #onNote({ message }: Note): void {
    try {
      const { ticket, clock, replies } = decodeMailboxReply(message, this.settings.accept);
      if (clock !== null) this.#clock.adjust(clock);
      // Ignore replies to a request that has already ended.
      const pending = ticket === null ? undefined : this.#pending.get(ticket);
      if (pending === undefined) return;
      for (const [node, reply] of Object.entries(replies)) {
        pending.replies.push([node, reply]);
        pending.onReply?.(node, reply);
      }
      this.#heard(pending);
    } catch (error) {
      this.#world.log.warning(`Ignored a control reply: ${errorText(error)}`);
    }
  }

  #heard(pending: Pending): void {
    if (pending.replies.length >= pending.expected) return pending.finish?.();
    const nowMs = this.#world.clock.monoMs();
    pending.gapMs = Math.max(pending.gapMs, nowMs - pending.lastMs);
    pending.lastMs = nowMs;
    if (pending.deadline === null) return;
    // Each reply restarts the wait, as in Celery.
    this.#arm(pending, this.#patience(pending));
  }

  /**
   * Returns how long to wait for the next reply. Replies may have come while the request was still being
   * confirmed.
   */
  #patience(pending: Pending): number {
    if (pending.isCounted || pending.replies.length === 0) return pending.patienceMs;
    return Math.min(pending.patienceMs, Math.max(QUIET_MS, QUIET_FACTOR * pending.gapMs));
  }

  #arm(pending: Pending, ms: number): void {
    this.#timers.disarm(pending.deadline);
    pending.deadline = this.#timers.armIn(ms, () => pending.finish?.());
  }

  async #publish(ask: Ask, ticket: string | null): Promise<void> {
    const { namespace } = this.settings;
    const timeoutMs = ask.timeoutMs ?? 1000;
    const message = encodeMailboxRequest({
      method: ask.command,
      arguments: { ...ask.arguments },
      destination: ask.destination && ask.destination.length > 0 ? [...ask.destination] : null,
      pattern: ask.pattern ?? null,
      matcher: ask.matcher ?? null,
      ticket,
      replyTo: ticket === null ? null : { exchange: replyExchangeName(namespace), routingKey: this.#id },
      clock: this.#clock.forward(),
      expires: timeoutMs > 0 ? (this.#world.clock.wallMs() + timeoutMs) / 1000 : 0,
    }, {
      serializer: this.settings.serializer,
      bodyEncoding: this.#connection.transport === "amqp" ? "none" : "base64",
    });
    const exchange = requestExchange(this.settings).name;
    await this.#connection.publish([{ exchange, routingKey: "", message }]);
  }

  async #declare(): Promise<void> {
    if (this.#isDeclared) return;
    await this.#connection.declareExchange(requestExchange(this.settings));
    this.#isDeclared = true;
  }

  async #stopListening(): Promise<void> {
    const listening = this.#listening;
    this.#listening = null;
    // If the subscription failed, its caller has the error.
    await listening?.then((subscription) => subscription.close(), () => {});
  }

  async #silent(ask: Ask, pending: Pending, count: number | null): Promise<SilentNodes> {
    const answered = new Set(pending.replies.map(([node]) => node));
    const named = [...new Set(ask.destination ?? [])];
    if (named.length > 0) {
      const names = named.filter((node) => !answered.has(node));
      return { count: ask.limit ? 0 : names.length, names };
    }
    const missing = (ask.limit ? 0 : count ?? 0) - pending.replies.length;
    if (missing <= 0) return NOBODY;
    const found = (await this.#nodes()).filter((node) => !answered.has(node));
    const { pattern, matcher } = ask;
    if (!pattern || !matcher) return { count: missing, names: found };
    const meant = found.filter((node) => matches(node, pattern, matcher));
    return meant.length === 0 ? NOBODY : { count: Math.min(missing, meant.length), names: meant };
  }

  /**
   * Returns how many of `count` listeners a request is for. A pattern is applied only if the name of every
   * listener is known.
   */
  async #meant(ask: Ask, count: number): Promise<number> {
    const { pattern, matcher } = ask;
    if (!pattern || !matcher || count === 0) return count;
    const nodes = await this.#nodes();
    return nodes.length === count ? nodes.filter((node) => matches(node, pattern, matcher)).length : count;
  }

  /**
   * Returns the names of nodes from the broker's bindings. On Redis, workers that crashed may be among them.
   */
  async #nodes(): Promise<string[]> {
    const { name } = requestExchange(this.settings);
    let bindings: readonly Binding[] = [];
    try {
      await atMost(this.#world.clock, NAMES_MS, this.#connection.bindings().then((all) => bindings = all));
      const queues = bindings.filter((binding) => binding.exchange === name).map(({ queue }) => queue);
      return queues.map((queue) => nodeOfQueue(queue, this.settings)).filter((node) => node !== null).sort();
    } catch {
      // Names are optional: the count is reported without them.
      return [];
    }
  }
}

const NOBODY: SilentNodes = { count: 0, names: [] };
