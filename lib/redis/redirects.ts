/**
 * Redirections of a cluster's node: handles the replies to commands that the node does not serve now.
 *
 * | the node replies | then |
 * |---|---|
 * | `ASK` (the slot is moving, the key has moved already) | the command is sent to the new node, after ASKING |
 * | `TRYAGAIN` (some of several keys have moved already) | it is sent again a moment later |
 * | `MOVED`, `CLUSTERDOWN`, `READONLY`, `MASTERDOWN` | the connection ends; its owner connects to the new master |
 *
 * A command's sink never receives these replies. If the connection is ended, the sink gets `onLost`, as after
 * a broken socket, so that unanswered commands are repeated on the next connection.
 */

import type { Address, Clock, Disarm, OperatingError } from "../base/mod.ts";
import { type Reply, type RespArg, RespError } from "../wire/mod.ts";
import { addressAt, redirectionOf } from "./cluster.ts";
import { toOperatingError } from "./errors.ts";
import type { ReplySink } from "./reply_queue.ts";

/** The connection from which commands are redirected. */
export interface RedirectedConnection {
  readonly address: Address;
  readonly clock: Clock;
  send(args: readonly RespArg[], sink: ReplySink): void;
  fail(error: Error): void;
  onUnheardError(error: OperatingError): void;
  /** Opens a connection to another node. Rejects as RedisConnection.open does. */
  open(address: Address): Promise<AskedConnection>;
}

/** A connection to a node to which a slot is being moved. */
export interface AskedConnection {
  send(args: readonly RespArg[], sink: ReplySink | null): void;
  close(graceMs: number): Promise<void>;
}

/** The first and the longest pause before a command is retried, and how long it is retried, milliseconds. */
const PAUSE_MS = 20;
const PAUSE_MAX_MS = 320;
const TRIED_MS = 30_000;
const GONE_CODES: ReadonlySet<string> = new Set(["MOVED", "CLUSTERDOWN", "READONLY", "MASTERDOWN"]);

/** The redirections of one connection. */
export class Redirects {
  #from: RedirectedConnection;
  /** Connections to nodes to which slots are being moved, by host and port. */
  #asked = new Map<string, Promise<AskedConnection>>();
  /** Commands that wait for a retry. */
  #waiting = new Map<Redirected, Disarm>();
  /** Sinks whose `onLost` was called: once per sink, however many commands it has. */
  #notified = new WeakSet<ReplySink>();
  #failure: Error | null = null;

  constructor(from: RedirectedConnection) {
    this.#from = from;
  }

  /** Returns the sink with which to send a command. Keeps a copy of the arguments. */
  wrap(args: readonly RespArg[], sink: ReplySink | null): ReplySink {
    return sink instanceof Redirected ? sink : new Redirected(this, args.slice(), sink);
  }

  /** Ends all redirections after the connection was lost. */
  end(failure: Error): void {
    this.#failure = failure;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [command, disarm] of waiting) {
      disarm();
      this.lose(command.sink, failure);
    }
    for (const asked of this.#asked.values()) asked.then((connection) => connection.close(0), () => {});
    this.#asked.clear();
  }

  /** Calls `onLost` of a command's sink, unless it was called before. */
  lose(sink: ReplySink | null, error: Error): void {
    if (sink === null || this.#notified.has(sink)) return;
    this.#notified.add(sink);
    sink.onLost(error);
  }

  /** Handles an error reply. */
  onError(command: Redirected, reply: RespError): void {
    if (GONE_CODES.has(reply.code)) {
      return this.#giveUp(command, toOperatingError(reply, "go on with this node"));
    }
    if (reply.code === "TRYAGAIN") return this.#later(command, reply);
    if (reply.code === "ASK") return this.#ask(command, reply);
    if (command.sink !== null) command.sink.onReply(reply);
    else this.#from.onUnheardError(toOperatingError(reply, "run a command"));
  }

  /** Ends the connection and reports the command as lost. */
  #giveUp(command: Redirected, error: Error): void {
    this.#from.fail(error);
    this.lose(command.sink, error);
  }

  #later(command: Redirected, reply: RespError): void {
    if (this.#failure !== null) return this.lose(command.sink, this.#failure);
    const { clock } = this.#from;
    const nowMs = clock.monoMs();
    if (command.triedMs === 0) command.triedMs = nowMs;
    else if (nowMs - command.triedMs > TRIED_MS) {
      return this.#giveUp(command, toOperatingError(reply, "run a command"));
    }
    const disarm = clock.arm(nowMs + command.pauseMs, () => {
      this.#waiting.delete(command);
      this.#from.send(command.args, command);
    });
    command.pauseMs = Math.min(PAUSE_MAX_MS, command.pauseMs * 2);
    this.#waiting.set(command, disarm);
  }

  #ask(command: Redirected, reply: RespError): void {
    const { address } = this.#from;
    const node = redirectionOf(reply, address.kind === "tcp" ? address.host : "127.0.0.1");
    if (node === null) return this.#later(command, reply);
    if (this.#failure !== null) return this.lose(command.sink, this.#failure);
    const name = `${node.host}:${node.port}`;
    let asked = this.#asked.get(name);
    if (asked === undefined) {
      asked = this.#from.open(addressAt(address, node));
      this.#asked.set(name, asked);
    }
    asked.then((connection) => {
      connection.send(["ASKING"], IGNORED);
      connection.send(command.args, {
        onReply: (answer) => this.#onAnswer(command, answer),
        // The command may have been executed. Repeating it on the next connection is safe, since it then
        // takes effect once.
        onLost: (error) => this.#giveUp(command, error),
      });
    }, (error) => this.#giveUp(command, error));
  }

  #onAnswer(command: Redirected, answer: Reply): void {
    const isRedirected = answer instanceof RespError &&
      (GONE_CODES.has(answer.code) || answer.code === "TRYAGAIN" || answer.code === "ASK");
    if (isRedirected) this.#later(command, answer);
    else if (command.sink !== null) command.sink.onReply(answer);
    else if (answer instanceof RespError) {
      this.#from.onUnheardError(toOperatingError(answer, "run a command"));
    }
  }
}

/** The sink of a command whose reply may be a redirection. */
class Redirected implements ReplySink {
  readonly args: readonly RespArg[];
  readonly sink: ReplySink | null;
  /** When the command was first retried, monotonic milliseconds; 0: never. */
  triedMs = 0;
  pauseMs = PAUSE_MS;
  #redirects: Redirects;

  constructor(redirects: Redirects, args: readonly RespArg[], sink: ReplySink | null) {
    this.#redirects = redirects;
    this.args = args;
    this.sink = sink;
  }

  onReply(reply: Reply): void {
    if (reply instanceof RespError) this.#redirects.onError(this, reply);
    else this.sink?.onReply(reply);
  }

  onLost(error: Error): void {
    this.#redirects.lose(this.sink, error);
  }
}

const IGNORED: ReplySink = { onReply(): void {}, onLost(): void {} };
