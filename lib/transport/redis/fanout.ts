/**
 * Receiving without acknowledging: fanouts by pattern subscription, other queues by BRPOP on a connection of their own.
 *
 * Source: kombu 5.2.4 transport/redis.py Channel._subscribe, _receive_one, _brpop_start.
 */

import { errorText, type World } from "../../base/mod.ts";
import {
  type PatternListener,
  type PubSub,
  RedisConnection,
  type RedisConnectionOptions,
  type RedisTarget,
} from "../../redis/mod.ts";
import { decodeEnvelope, type Reply } from "../../wire/mod.ts";
import type { Note } from "../message.ts";

/** How long one BRPOP waits on the server, in seconds; far below the timeout of a dead connection. */
const POP_SECONDS = 2;

/**
 * Subscribes to a channel pattern; resolves with the function that unsubscribes. A broken message is one line
 * in the log. Rejects as `PubSub.subscribe` does.
 */
export async function listen(
  world: World,
  pubsub: PubSub,
  pattern: string,
  onNote: (note: Note) => void,
): Promise<() => Promise<void>> {
  const listener: PatternListener = (payload, channel) => {
    // An empty payload is how `listeners` counts; kombu ignores it as well.
    if (payload === "") return;
    const note = readNote(world, payload, `channel "${channel}"`);
    if (note !== null) onNote(note);
  };
  await pubsub.subscribe(pattern, listener);
  return () => pubsub.unsubscribe(pattern, listener);
}

/** Pops a queue's messages one by one, without acknowledgement. */
export class QueuePopper {
  /** Resolves when its connection is gone: with the cause, or with null after `close`. */
  readonly lost: Promise<Error | null>;
  #world: World;
  #connection: RedisConnection;
  #lists: readonly string[];
  #onNote: (note: Note) => void;
  #isClosed = false;

  private constructor(
    world: World,
    connection: RedisConnection,
    lists: readonly string[],
    onNote: (note: Note) => void,
  ) {
    this.#world = world;
    this.#connection = connection;
    this.#lists = lists;
    this.#onNote = onNote;
    this.lost = connection.lost;
  }

  /** Connects and begins to pop from `lists`, the most urgent first. Rejects as RedisConnection.open does. */
  static async open(
    world: World,
    target: RedisTarget,
    options: RedisConnectionOptions & { lists: readonly string[]; onNote: (note: Note) => void },
  ): Promise<QueuePopper> {
    const replyTimeoutMs = (options.replyTimeoutMs ?? 0) + POP_SECONDS * 1000;
    const connection = await RedisConnection.open(world, target, { ...options, replyTimeoutMs });
    const popper = new QueuePopper(world, connection, options.lists, options.onNote);
    popper.#pop();
    return popper;
  }

  /** Stops. A message in transit is lost, since there is no acknowledgement. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#connection.close(0);
  }

  #pop(): void {
    this.#connection.call(["BRPOP", ...this.#lists, POP_SECONDS]).then((reply) => {
      if (this.#isClosed) return;
      this.#deliver(reply);
      this.#pop();
    }, (error) => {
      // A lost connection is reported by `lost`; an error reply ends the connection.
      this.#connection.fail(error);
    });
  }

  #deliver(reply: Reply): void {
    if (!Array.isArray(reply)) return;
    const note = readNote(this.#world, String(reply[1]), `queue "${String(reply[0])}"`);
    if (note !== null) this.#onNote(note);
  }
}

/** Decodes a message received without acknowledgement; if it is broken, logs that and returns null. */
export function readNote(world: World, envelope: string, where: string): Note | null {
  try {
    const { message, info } = decodeEnvelope(envelope);
    return { message, info };
  } catch (error) {
    world.log.warning(`Cannot process a message on ${where}: ${errorText(error)}`);
    return null;
  }
}
