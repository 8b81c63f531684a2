/** The waiting messages of a queue of the memory broker, by priority step. */

/** A message from publish to settlement. */
export interface Message {
  readonly id: number;
  readonly queue: string;
  readonly step: number;
  envelope: string;
}

/** A queue's messages, first in, first out within each step. */
export class MessageQueue {
  /** Steps that ever had a message, lowest first. */
  readonly steps: number[] = [];
  #fifos = new Map<number, Fifo>();
  /** The number of waiting messages. */
  length = 0;

  /** Adds messages in their order. */
  add(messages: readonly Message[], at: "head" | "tail"): void {
    // At the head, the last of the batch goes first, so that the batch keeps its order.
    for (let n = 0; n < messages.length; n++) {
      const message = messages[at === "tail" ? n : messages.length - 1 - n]!;
      let fifo = this.#fifos.get(message.step);
      if (!fifo) {
        this.#fifos.set(message.step, fifo = new Fifo());
        this.steps.push(message.step);
        this.steps.sort((a, b) => a - b);
      }
      if (at === "tail") fifo.push(message);
      else fifo.unshift(message);
      this.length++;
    }
  }

  /** Removes and returns the next message of a step; null if there is none. */
  shift(step: number): Message | null {
    const message = this.#fifos.get(step)?.shift() ?? null;
    if (message) this.length--;
    return message;
  }

  /** Returns the next message of all steps without removing it; null if there is none. */
  peek(): Message | null {
    for (const step of this.steps) {
      const message = this.#fifos.get(step)!.peek();
      if (message) return message;
    }
    return null;
  }

  /** Drops all messages. */
  clear(): void {
    this.#fifos.clear();
    this.steps.length = 0;
    this.length = 0;
  }
}

/** First in, first out, with room at the head for returned messages. Each call costs O(1) on average. */
class Fifo {
  #head: Message[] = [];
  #items: Message[] = [];
  #at = 0;

  push(message: Message): void {
    this.#items.push(message);
  }

  unshift(message: Message): void {
    this.#head.push(message);
  }

  peek(): Message | null {
    return this.#head.at(-1) ?? this.#items[this.#at] ?? null;
  }

  shift(): Message | null {
    const returned = this.#head.pop();
    if (returned) return returned;
    const message = this.#items[this.#at];
    if (!message) return null;
    this.#at++;
    if (this.#at > 1000 && this.#at * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#at);
      this.#at = 0;
    }
    return message;
  }
}
