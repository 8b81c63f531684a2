/**
 * A connection to a cluster's node whose slots may move: what becomes of a command that the node does not serve now.
 *
 * | the node says | then |
 * |---|---|
 * | `ASK` (the slot is being moved, the key is there already) | the command is sent to that node, after ASKING |
 * | `TRYAGAIN` (of several keys some are there already) | it is sent again a moment later |
 * | `MOVED`, `CLUSTERDOWN`, `READONLY` | the connection is given up: its owner finds the slot's master and goes on |
 *
 * A command's sink hears of none of them. It hears that the connection is lost, as it would of a broken socket, so that
 * what was not answered is done on the next connection.
 */

import type { Address, Clock, Disarm, OperatingError } from "../base/mod.ts";
import { type Reply, type RespArg, RespError } from "../wire/mod.ts";
import { addressAt, redirectionOf } from "./cluster.ts";
import { toOperatingError } from "./errors.ts";
import type { ReplySink } from "./reply_queue.ts";

/** The connection that commands are redirected from. */
export interface RedirectedConnection {
  readonly address: Address;
  readonly clock: Clock;
  send(args: readonly RespArg[], sink: ReplySink): void;
  fail(error: Error): void;
  onUnheardError(error: OperatingError): void;
  /** Opens a connection to another node. */
  open(address: Address): Promise<AskedConnection>;
}

/** A connection to a node that a slot is moved to. */
export interface AskedConnection {
  send(args: readonly RespArg[], sink: ReplySink | null): void;
  close(graceMs: number): Promise<void>;
}

/** The first and the longest pause before a command is tried again, and how long it is tried. */
const PAUSE_MS = 20;
const PAUSE_MAX_MS = 320;
const TRIED_MS = 30_000;
const GONE_CODES: ReadonlySet<string> = new Set(["MOVED", "CLUSTERDOWN", "READONLY", "MASTERDOWN"]);

/** The redirections of one connection. */
export class Redirects {
  #from: RedirectedConnection;
  /** Connections to nodes that slots are moved to, by host and port. */
  #asked = new Map<string, Promise<AskedConnection>>();
  /** Commands that wait to be tried again. */
  #waiting = new Map<Redirected, Disarm>();
  /** Sinks that have heard of the loss: each hears of it once, however many commands it has. */
  #told = new WeakSet<ReplySink>();
  #failure: Error | null = null;

  constructor(from: RedirectedConnection) {
    this.#from = from;
  }

  /** The sink to send a command with. Keeps a copy of the arguments. */
  wrap(args: readonly RespArg[], sink: ReplySink | null): ReplySink {
    return sink instanceof Redirected ? sink : new Redirected(this, args.slice(), sink);
  }

  /** The connection is gone. */
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

  /** A command's sink hears of the loss. */
  lose(sink: ReplySink | null, error: Error): void {
    if (sink === null || this.#told.has(sink)) return;
    this.#told.add(sink);
    sink.onLost(error);
  }

  /** What to do with an error reply. */
  onError(command: Redirected, reply: RespError): void {
    if (GONE_CODES.has(reply.code)) {
      return this.#give(command, toOperatingError(reply, "go on with this node"));
    }
    if (reply.code === "TRYAGAIN") return this.#later(command, reply);
    if (reply.code === "ASK") return this.#ask(command, reply);
    if (command.sink !== null) command.sink.onReply(reply);
    else this.#from.onUnheardError(toOperatingError(reply, "run a command"));
  }

  /** Gives the connection up; the command is one of those that were not answered. */
  #give(command: Redirected, error: Error): void {
    this.#from.fail(error);
    this.lose(command.sink, error);
  }

  #later(command: Redirected, reply: RespError): void {
    if (this.#failure !== null) return this.lose(command.sink, this.#failure);
    const { clock } = this.#from;
    const nowMs = clock.monoMs();
    if (command.triedMs === 0) command.triedMs = nowMs;
    else if (nowMs - command.triedMs > TRIED_MS) {
      return this.#give(command, toOperatingError(reply, "run a command"));
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
      connection.send(["ASKING"], NOBODY);
      connection.send(command.args, {
        onReply: (answer) => this.#onAnswer(command, answer),
        // It may have been done: what the next connection does a second time it does once.
        onLost: (error) => this.#give(command, error),
      });
    }, (error) => this.#give(command, error));
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

/** A command whose reply may be a redirection. */
class Redirected implements ReplySink {
  readonly args: readonly RespArg[];
  readonly sink: ReplySink | null;
  /** When it was first tried again; 0: never. */
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

const NOBODY: ReplySink = { onReply(): void {}, onLost(): void {} };
