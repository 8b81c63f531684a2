/**
 * One channel: calls with replies in order, consumers, messages and confirms.
 *
 * A channel error ends the channel and not the connection. Pending calls and confirms are notified once.
 */

import { assert, ConnectionLost, OperatingError, Outbox, ProtocolError } from "../base/mod.ts";
import {
  type AmqpArgs,
  type AmqpCall,
  type AmqpMethod,
  amqpMethod,
  AmqpProperties,
  decodeMethod,
  encodeContent,
  encodeMethod,
} from "../wire/mod.ts";
import { Confirms } from "./confirms.ts";
import type { AmqpConnection } from "./connection.ts";
import { type AmqpMessage, ContentAssembler } from "./content.ts";
import { type CloseReason, toOperatingError } from "./errors.ts";

/** Receives a consumer's messages. Called synchronously; the methods must not throw. */
export interface AmqpConsumerSink {
  /** Receives one message (`basic.deliver`). */
  onMessage(message: AmqpMessage): void;
  /** Called when the server has ended the consumer, because its queue was deleted or has moved. */
  onCancelled(): void;
}

/** A call whose reply is pending. */
interface Waiter {
  readonly method: AmqpMethod;
  readonly doing: string;
  readonly resolve: (answer: AmqpCall | AmqpMessage) => void;
  readonly reject: (error: Error) => void;
}

const CLOSED = "the channel is closed";
const BASIC_PUBLISH = amqpMethod("basic.publish");
const BASIC_ACK = amqpMethod("basic.ack");
const scratch = new Outbox();

/** An open channel. Made by `AmqpConnection.openChannel`. */
export class AmqpChannel {
  readonly id: number;
  readonly connection: AmqpConnection;
  /** The publishes that wait for their confirm; used after `selectConfirms`. */
  readonly confirms: Confirms = new Confirms();
  /** Called for each returned message (`basic.return`), before it is confirmed. */
  onReturn: ((message: AmqpMessage) => void) | null = null;
  /** Called once when the channel has ended, except by `close`. */
  onLost: ((error: Error) => void) | null = null;
  #waiters: Waiter[] = [];
  #consumers = new Map<string, AmqpConsumerSink>();
  #content = new ContentAssembler();
  #failure: Error | null = null;
  #isClosing = false;
  #nextConsumer = 1;
  /** The frame of the last `basic.publish` method, kept because the next one is often the same. */
  #publishFrame = { exchange: "", routingKey: "", mandatory: false, frame: new Uint8Array(0) };

  /** For AmqpConnection only. */
  constructor(connection: AmqpConnection, id: number) {
    this.connection = connection;
    this.id = id;
  }

  /** True once the channel has ended or is closing. */
  get isLost(): boolean {
    return this.#failure !== null || this.#isClosing;
  }

  /** True while a reply or a confirm is pending. */
  get isWaiting(): boolean {
    return this.#waiters.length > 0 || this.confirms.open > 0;
  }

  /** Appends a method without a reply, such as an ack. Does nothing on a lost channel. */
  send(method: AmqpMethod | string, args: AmqpArgs): void {
    if (this.isLost) return;
    encodeMethod(this.connection.outbox, this.id, method, args);
    this.connection.touch();
  }

  /** Appends `basic.ack`. Data lane: once per run of messages. */
  ack(deliveryTag: number, multiple: boolean): void {
    this.send(BASIC_ACK, { "delivery-tag": deliveryTag, multiple });
  }

  /**
   * Sends a method and resolves with the arguments of its reply. Rejects with AccessRefused or ServerError if
   * the server closes the channel because of it, and with the channel's error if the channel has ended.
   * `doing` describes the call in errors.
   */
  async call(method: string, args: AmqpArgs, doing: string): Promise<AmqpCall["args"]> {
    return (await this.#call(method, args, doing) as AmqpCall).args;
  }

  /** Appends a method and ignores its reply (`basic.qos` on the data lane). */
  callUnheard(method: string, args: AmqpArgs): void {
    if (this.isLost) return;
    this.#call(method, args, method).catch(() => {
      // The channel has ended; its owner is notified by onLost.
    });
  }

  /** Sends `basic.get`. Resolves with one message, or null if the queue is empty. Rejects as `call` does. */
  async get(queue: string, noAck: boolean): Promise<AmqpMessage | null> {
    const answer = await this.#call("basic.get", { queue, "no-ack": noAck }, `read queue "${queue}"`);
    return "body" in answer ? answer : null;
  }

  /**
   * Consumes from a queue. Resolves with the consumer's tag when the server has started it; messages may
   * reach the sink before that. Rejects as `call` does.
   */
  async consume(
    queue: string,
    options: {
      noAck?: boolean;
      exclusive?: boolean;
      arguments?: Readonly<Record<string, unknown>>;
      tag?: string;
    },
    sink: AmqpConsumerSink,
  ): Promise<string> {
    const tag = options.tag ?? `lovage-${this.id}.${this.#nextConsumer++}`;
    this.#consumers.set(tag, sink);
    try {
      await this.call("basic.consume", {
        queue,
        "consumer-tag": tag,
        "no-ack": options.noAck ?? false,
        exclusive: options.exclusive ?? false,
        arguments: options.arguments ?? {},
      }, `consume from queue "${queue}"`);
    } catch (error) {
      this.#consumers.delete(tag);
      throw error;
    }
    return tag;
  }

  /**
   * Ends a consumer. Messages sent before the server's reply still reach its sink. Rejects as `call` does.
   */
  async cancel(tag: string): Promise<void> {
    if (!this.#consumers.has(tag)) return;
    await this.call("basic.cancel", { "consumer-tag": tag }, "cancel a consumer");
    this.#consumers.delete(tag);
  }

  /** Requests confirms for everything published from now on. Rejects as `call` does. */
  async selectConfirms(): Promise<void> {
    await this.call("confirm.select", {}, "ask for publisher confirms");
  }

  /** Appends one message as `append` does, and has it written at the end of this turn. */
  publish(
    to: { exchange: string; routingKey: string; mandatory: boolean },
    properties: AmqpProperties,
    body: Uint8Array | string,
  ): void {
    this.append(to, properties, body);
    this.connection.touch();
  }

  /**
   * Appends one message, which is written with the next `flush` or `touch`. Throws EncodeError if it cannot
   * be encoded; nothing was appended then. Throws the channel's error on a lost channel. Data lane: once per
   * message.
   */
  append(
    to: { exchange: string; routingKey: string; mandatory: boolean },
    properties: AmqpProperties,
    body: Uint8Array | string,
  ): void {
    this.#mustBeOpen("publish");
    const { outbox, frameMax } = this.connection;
    const last = this.#publishFrame;
    if (
      last.frame.length === 0 || last.routingKey !== to.routingKey || last.exchange !== to.exchange ||
      last.mandatory !== to.mandatory
    ) this.#setPublishFrame(to);
    const start = outbox.length;
    outbox.bytes(this.#publishFrame.frame);
    try {
      encodeContent(outbox, this.id, properties, body, frameMax);
    } catch (error) {
      outbox.shift(outbox.length, start - outbox.length);
      throw error;
    }
  }

  /** Closes the channel; the server requeues unacknowledged messages. Idempotent. Never rejects. */
  async close(): Promise<void> {
    if (this.isLost) return;
    const closing = this.#call(
      "channel.close",
      { "reply-code": 200, "reply-text": "Goodbye" },
      "close a channel",
    );
    this.#isClosing = true;
    try {
      await closing;
    } catch {
      // The connection was lost, which closes the channel too.
    }
    this.#end(new ConnectionLost(`Cannot use AMQP: ${CLOSED}`));
  }

  /** For AmqpConnection: handles a frame for this channel. Throws ProtocolError. */
  onFrame(type: number, payload: Uint8Array): void {
    if (type === 1) return this.#onMethod(decodeMethod(payload));
    // While the channel is closing, messages still arrive that the server sent before; `#onMessage` drops
    // them.
    const message = type === 2 ? this.#content.head(payload) : this.#content.part(payload);
    if (message !== null) this.#onMessage(message);
  }

  /** For AmqpConnection: ends the channel after the connection was lost. */
  fail(error: Error): void {
    this.#end(error);
  }

  #setPublishFrame(to: { exchange: string; routingKey: string; mandatory: boolean }): void {
    const { exchange, routingKey, mandatory } = to;
    encodeMethod(scratch, this.id, BASIC_PUBLISH, { exchange, "routing-key": routingKey, mandatory });
    const view = scratch.take();
    this.#publishFrame = { exchange, routingKey, mandatory, frame: view.slice() };
    scratch.release(view);
  }

  #call(method: string, args: AmqpArgs, doing: string): Promise<AmqpCall | AmqpMessage> {
    const known = amqpMethod(method);
    assert(known.replies.length > 0, "a call has a reply");
    return new Promise((resolve, reject) => {
      this.#mustBeOpen(doing);
      encodeMethod(this.connection.outbox, this.id, known, args);
      this.#waiters.push({ method: known, doing, resolve, reject });
      this.connection.touch();
      this.connection.waits();
    });
  }

  #mustBeOpen(doing: string): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#isClosing) throw new OperatingError(`Cannot ${doing}: ${CLOSED}`);
  }

  #onMethod(call: AmqpCall): void {
    if (this.#content.isOpen && !this.#isClosing) {
      throw new ProtocolError(`Cannot read ${call.method.name}: the content of a message was expected`);
    }
    const { method, args } = call;
    if (method.name === "channel.close") return this.#onClose(args);
    if (method.hasContent) return this.#content.begin(call);
    const waiter = this.#waiters[0];
    if (waiter !== undefined && waiter.method.replies.includes(method.name)) {
      this.#waiters.shift();
      return waiter.resolve(call);
    }
    switch (method.name) {
      case "basic.ack":
        return this.confirms.answer(Number(args["delivery-tag"]), args["multiple"] === true, true);
      case "basic.nack":
        return this.confirms.answer(Number(args["delivery-tag"]), args["multiple"] === true, false);
      case "basic.cancel":
        return this.#onCancel(args);
      case "channel.flow":
        return this.send("channel.flow-ok", { active: args["active"] });
    }
    throw new ProtocolError(`Cannot understand ${method.name}: it answers no open request`);
  }

  #onMessage(message: AmqpMessage): void {
    if (this.#isClosing) return;
    const { method, args } = message.call;
    switch (method.name) {
      case "basic.deliver":
        // A message for an unknown tag was sent before its consumer was cancelled. The server requeues it
        // when the channel is closed.
        this.#consumers.get(args["consumer-tag"] as string)?.onMessage(message);
        return;
      case "basic.return":
        this.onReturn?.(message);
        return;
      default: {
        const waiter = this.#waiters.shift();
        if (waiter?.method.name !== "basic.get") {
          throw new ProtocolError("Cannot understand basic.get-ok: it answers no open request");
        }
        waiter.resolve(message);
      }
    }
  }

  #onCancel(args: Record<string, unknown>): void {
    const tag = args["consumer-tag"] as string;
    const sink = this.#consumers.get(tag);
    this.#consumers.delete(tag);
    if (args["nowait"] !== true) this.send("basic.cancel-ok", { "consumer-tag": tag });
    sink?.onCancelled();
  }

  #onClose(args: Record<string, unknown>): void {
    const reason: CloseReason = {
      code: args["reply-code"] as number,
      text: args["reply-text"] as string,
      methodId: (args["class-id"] as number) * 65536 + (args["method-id"] as number),
    };
    encodeMethod(this.connection.outbox, this.id, "channel.close-ok");
    this.connection.touch();
    const blamed = this.#blamedBy(reason);
    blamed?.reject(toOperatingError(reason, blamed.doing));
    const doing = reason.methodId === BASIC_PUBLISH.id ? "publish" : "go on with an AMQP channel";
    this.#end(toOperatingError(reason, blamed === null ? doing : blamed.doing));
  }

  /**
   * Removes and returns the call because of which the server closed the channel; it is rejected with the
   * server's text. The server names the method; if several pending calls have this method, its text names the
   * queue or exchange.
   */
  #blamedBy({ methodId, text }: CloseReason): Waiter | null {
    const all = this.#waiters.filter(({ method }) => method.id === methodId);
    const named = all.find(({ doing }) => text.includes(`'${/"([^"]+)"$/.exec(doing)?.[1]}'`));
    const blamed = named ?? (all[0] === this.#waiters[0] ? all[0] : undefined);
    if (blamed === undefined) return null;
    this.#waiters.splice(this.#waiters.indexOf(blamed), 1);
    return blamed;
  }

  #end(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.connection.forget(this);
    this.#consumers.clear();
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
    this.confirms.fail(error);
    if (!this.#isClosing) this.onLost?.(error);
  }
}
