/** Messages of the memory broker: waiting, held, parked and dead. */

import { assert } from "../../../base/mod.ts";
import { markReported, unmarkReported } from "../../../wire/mod.ts";
import { DEAD_LETTERS_MAX, type DeadLetter, type ParkedMessage } from "../../message.ts";
import type { DeadStore, HeldMessage, MessageStore, ParkedStore, ReturnedMessage } from "../store.ts";
import { type Message, MessageQueue } from "./message_queue.ts";

interface Holding {
  readonly session: number;
  readonly message: Message;
}

/**
 * Queues, and the messages that sessions hold. There is no limit: a process that sends without consuming
 * grows.
 */
export class MemoryMessages implements MessageStore {
  readonly #queues = new Map<string, MessageQueue>();
  readonly #held = new Map<number, Holding>();
  #nextId = 1;

  /** Returns a queue; creates it if there is none. */
  queue(name: string): MessageQueue {
    let queue = this.#queues.get(name);
    if (!queue) this.#queues.set(name, queue = new MessageQueue());
    return queue;
  }

  names(): string[] {
    return [...this.#queues.keys()].sort();
  }

  /** Deletes a queue and its waiting messages. */
  deleteQueue(name: string): void {
    this.#queues.delete(name);
  }

  length(queue: string): number | null {
    return this.#queues.get(queue)?.length ?? null;
  }

  heldOf(queue: string): number {
    let count = 0;
    for (const { message } of this.#held.values()) if (message.queue === queue) count++;
    return count;
  }

  purge(name: string): number {
    const queue = this.#queues.get(name);
    const count = queue?.length ?? 0;
    queue?.clear();
    return count;
  }

  isReady(queue: string): boolean {
    return (this.#queues.get(queue)?.length ?? 0) > 0;
  }

  insert(queue: string, step: number, envelope: string): void {
    this.queue(queue).add([{ id: this.#nextId++, queue, step, envelope }], "tail");
  }

  fetch(session: number, names: readonly string[], limit: number): HeldMessage[] {
    const queues = names.map((name) => this.queue(name));
    const steps = [...new Set(queues.flatMap((queue) => queue.steps))].sort((a, b) => a - b);
    const taken: HeldMessage[] = [];
    for (const step of steps) {
      for (const queue of queues) {
        while (taken.length < limit) {
          const message = queue.shift(step);
          if (!message) break;
          this.#held.set(message.id, { session, message });
          taken.push({ id: message.id, queue: message.queue, attempts: 0, envelope: message.envelope });
        }
      }
    }
    return taken;
  }

  peek(queue: string): string | null {
    return this.#queues.get(queue)?.peek()?.envelope ?? null;
  }

  pop(name: string, limit: number): string[] {
    const queue = this.#queues.get(name);
    const taken: string[] = [];
    for (const step of queue ? queue.steps : []) {
      for (let message; taken.length < limit && (message = queue!.shift(step));) taken.push(message.envelope);
    }
    return taken;
  }

  settle(session: number, ids: readonly number[]): void {
    for (const id of ids) this.release(session, id);
  }

  putBack(session: number, messages: readonly ReturnedMessage[], at: "head" | "tail"): string[] {
    if (messages.length === 0) return [];
    const returned: Message[] = [];
    for (const { id, envelope } of messages) {
      const message = this.release(session, id);
      if (!message) continue;
      message.envelope = envelope;
      returned.push(message);
    }
    return this.add(returned, at);
  }

  /** No effect: sessions never die without the process, so no attempt is counted. */
  begun(_id: number): void {}

  notBegun(_id: number): void {}

  /** Adds messages to their queues, in this order; returns those queues. */
  add(messages: readonly Message[], at: "head" | "tail"): string[] {
    const byQueue = Map.groupBy(messages, (message) => message.queue);
    for (const [queue, list] of byQueue) this.queue(queue).add(list, at);
    return [...byQueue.keys()];
  }

  /** Takes a held message from its session and returns it; null if it is not held. */
  release(session: number, id: number): Message | null {
    const holding = this.#held.get(id);
    if (!holding) return null;
    assert(holding.session === session, "a message is settled by its holder");
    this.#held.delete(id);
    return holding.message;
  }
}

/** Parked messages, soonest due first. */
export class MemoryParked implements ParkedStore {
  readonly #messages: MemoryMessages;
  #parked: { dueMs: number; message: Message }[] = [];

  constructor(messages: MemoryMessages) {
    this.#messages = messages;
  }

  park(session: number, id: number, dueMs: number): string | null {
    const message = this.#messages.release(session, id);
    if (!message) return null;
    const parked = this.#parked;
    let low = 0;
    for (let high = parked.length; low < high;) {
      const middle = (low + high) >> 1;
      if (parked[middle]!.dueMs <= dueMs) low = middle + 1;
      else high = middle;
    }
    parked.splice(low, 0, { dueMs, message });
    return message.queue;
  }

  nextDueMs(): number | null {
    return this.#parked[0]?.dueMs ?? null;
  }

  releaseDue(nowMs: number): string[] {
    const parked = this.#parked;
    let count = 0;
    while (count < parked.length && parked[count]!.dueMs <= nowMs) count++;
    const due = parked.splice(0, count).map(({ message }) => ({
      ...message,
      envelope: markReported(message.envelope),
    }));
    return this.#messages.add(due, "head");
  }

  list(limit: number): ParkedMessage[] {
    return this.#parked.slice(0, Math.max(0, limit)).map(({ dueMs, message }) => ({
      id: String(message.id),
      queue: message.queue,
      dueMs,
      envelope: message.envelope,
    }));
  }

  drop(id: string): boolean {
    const index = this.#parked.findIndex(({ message }) => String(message.id) === id);
    if (index >= 0) this.#parked.splice(index, 1);
    return index >= 0;
  }

  purge(queue: string): number {
    const before = this.#parked.length;
    this.#parked = this.#parked.filter(({ message }) => message.queue !== queue);
    return before - this.#parked.length;
  }
}

/** Dead letters, oldest first. */
export class MemoryDead implements DeadStore {
  readonly #messages: MemoryMessages;
  readonly #dead: DeadLetter[] = [];

  constructor(messages: MemoryMessages) {
    this.#messages = messages;
  }

  add(session: number, id: number, reason: string, atMs: number): void {
    const message = this.#messages.release(session, id);
    if (!message) return;
    const { queue, envelope } = message;
    this.#dead.push({ id: String(id), queue, reason, atMs, envelope });
    if (this.#dead.length > DEAD_LETTERS_MAX) this.#dead.shift();
  }

  count(): number {
    return this.#dead.length;
  }

  list(limit: number): DeadLetter[] {
    return this.#dead.toReversed().slice(0, Math.max(0, limit));
  }

  revive(id: string, queue: string, step: number): boolean {
    const letter = this.#take(id);
    if (letter !== null) this.#messages.insert(queue, step, unmarkReported(letter.envelope));
    return letter !== null;
  }

  drop(id: string): boolean {
    return this.#take(id) !== null;
  }

  #take(id: string): DeadLetter | null {
    const index = this.#dead.findIndex((letter) => letter.id === id);
    return index < 0 ? null : this.#dead.splice(index, 1)[0]!;
  }
}
