/**
 * Matches replies to commands: a ring of (sink, count) runs, so that n commands in a row with one sink take
 * one entry.
 */

import { ProtocolError, Ring } from "../base/mod.ts";
import type { Reply } from "../wire/mod.ts";

/** Receives the replies to its commands in order. Called synchronously; the methods must not throw. */
export interface ReplySink {
  /** Receives one reply; an error reply is a RespError. */
  onReply(reply: Reply): void;
  /** Called once when the connection is lost, however many replies were pending. No reply comes after it. */
  onLost(error: Error): void;
}

interface Run {
  readonly sink: ReplySink | null;
  count: number;
}

/** The pending replies of one connection. */
export class ReplyQueue {
  #runs = new Ring<Run>();
  #length = 0;

  /** The number of pending replies. */
  get length(): number {
    return this.#length;
  }

  /** Expects one more reply for `sink`; null ignores it. */
  expect(sink: ReplySink | null): void {
    this.#length++;
    const last = this.#runs.peekLast();
    if (last !== undefined && last.sink === sink) last.count++;
    else this.#runs.push({ sink, count: 1 });
  }

  /** Returns the sink of the reply that has just come. Throws ProtocolError if no reply is pending. */
  take(): ReplySink | null {
    const run = this.#runs.peek();
    if (run === undefined) throw new ProtocolError("Cannot match the server's reply: no command is open");
    this.#length--;
    if (--run.count === 0) this.#runs.shift();
    return run.sink;
  }

  /** Calls `onLost` once for every sink with pending replies, and forgets them. */
  fail(error: Error): void {
    const sinks = new Set<ReplySink>();
    for (let run = this.#runs.shift(); run !== undefined; run = this.#runs.shift()) {
      if (run.sink !== null) sinks.add(run.sink);
    }
    this.#length = 0;
    for (const sink of sinks) sink.onLost(error);
  }
}
