/** Whose answer comes next: a ring of (sink, count) runs, so that n equal commands take one entry. */

import { ProtocolError, Ring } from "../base/mod.ts";
import type { Reply } from "../wire/mod.ts";

/** Who hears the replies to its commands, in order. Called synchronously; none may throw. */
export interface ReplySink {
  /** One reply; an error reply comes as RespError. */
  onReply(reply: Reply): void;
  /** The connection is gone and no further reply comes. Once, however many were open. */
  onLost(error: Error): void;
}

interface Run {
  readonly sink: ReplySink | null;
  count: number;
}

/** The open replies of one connection. */
export class ReplyQueue {
  #runs = new Ring<Run>();
  #length = 0;

  /** How many replies are open. */
  get length(): number {
    return this.#length;
  }

  /** Expects one more reply for `sink`; null: nobody wants it. */
  expect(sink: ReplySink | null): void {
    this.#length++;
    const last = this.#runs.peekLast();
    if (last !== undefined && last.sink === sink) last.count++;
    else this.#runs.push({ sink, count: 1 });
  }

  /** The sink of the reply that has just come. Throws ProtocolError where none is open. */
  take(): ReplySink | null {
    const run = this.#runs.peek();
    if (run === undefined) throw new ProtocolError("Cannot match the server's reply: no command is open");
    this.#length--;
    if (--run.count === 0) this.#runs.shift();
    return run.sink;
  }

  /** Tells every sink with open replies, each once, and forgets them. */
  fail(error: Error): void {
    const sinks = new Set<ReplySink>();
    for (let run = this.#runs.shift(); run !== undefined; run = this.#runs.shift()) {
      if (run.sink !== null) sinks.add(run.sink);
    }
    this.#length = 0;
    for (const sink of sinks) sink.onLost(error);
  }
}
