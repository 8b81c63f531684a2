/**
 * One channel: calls with their answers in order, consumers, messages, confirms.
 *
 * An error of a channel ends the channel and not the connection; what was open on it hears so once.
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

/** Who hears of a consumer's messages. Called synchronously; none may throw. */
export interface AmqpConsumerSink {
  /** One message (`basic.deliver`). */
  onMessage(message: AmqpMessage): void;
  /** The server has ended the consumer: its queue was deleted or has moved. */
  onCancelled(): void;
}

/** An answer that is waited for. */
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
  /** Publishes of this channel that wait for their confirm; in use after `selectConfirms`. */
  readonly confirms: Confirms = new Confirms();
  /** Hears of messages that came back (`basic.return`), before they are confirmed. */
  onReturn: ((message: AmqpMessage) => void) | null = null;
  /** Hears once that the channel is gone otherwise than by `close`. */
  onLost: ((error: Error) => void) | null = null;
  #waiters: Waiter[] = [];
  #consumers = new Map<string, AmqpConsumerSink>();
  #content = new ContentAssembler();
  #failure: Error | null = null;
  #isClosing = false;
  #nextConsumer = 1;
  /** The frames of the publish method that was sent last, which is often the next one's too. */
  #way = { exchange: "", routingKey: "", mandatory: false, frame: new Uint8Array(0) };

  /** Of AmqpConnection. */
  constructor(connection: AmqpConnection, id: number) {
    this.connection = connection;
    this.id = id;
  }

  /** True once the channel is gone or closed. */
  get isLost(): boolean {
    return this.#failure !== null || this.#isClosing;
  }

  /** Whether something is waited for. */
  get isWaiting(): boolean {
    return this.#waiters.length > 0 || this.confirms.open > 0;
  }

  /** Appends a method that nothing answers (acks and their kin). On a lost channel it vanishes. */
  send(method: AmqpMethod | string, args: AmqpArgs): void {
    if (this.isLost) return;
    encodeMethod(this.connection.outbox, this.id, method, args);
    this.connection.touch();
  }

  /** Appends `basic.ack`. Data lane: per run of messages. */
  ack(deliveryTag: number, multiple: boolean): void {
    this.send(BASIC_ACK, { "delivery-tag": deliveryTag, multiple });
  }

  /**
   * Sends a method and resolves with its answer's arguments. Rejects with AccessRefused or ServerError where the
   * server closes the channel for it, and with the channel's error where that is gone; `doing` names it in the error.
   */
  async call(method: string, args: AmqpArgs, doing: string): Promise<AmqpCall["args"]> {
    return (await this.#call(method, args, doing) as AmqpCall).args;
  }

  /** Appends a method whose answer nobody waits for (`basic.qos` on the data lane). */
  callUnheard(method: string, args: AmqpArgs): void {
    if (this.isLost) return;
    this.#call(method, args, method).catch(() => {
      // The channel is gone; whoever owns it hears that by onLost.
    });
  }

  /** `basic.get`: one message, or null where none waits. */
  async get(queue: string, noAck: boolean): Promise<AmqpMessage | null> {
    const answer = await this.#call("basic.get", { queue, "no-ack": noAck }, `read queue "${queue}"`);
    return "body" in answer ? answer : null;
  }

  /**
   * Consumes from a queue; resolves with the consumer's tag when the server has begun. Messages may reach the sink
   * before that.
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

  /** Ends a consumer; what was on its way until the server's answer still reaches its sink. */
  async cancel(tag: string): Promise<void> {
    if (!this.#consumers.has(tag)) return;
    await this.call("basic.cancel", { "consumer-tag": tag }, "cancel a consumer");
    this.#consumers.delete(tag);
  }

  /** Asks for confirms of everything published from now on. */
  async selectConfirms(): Promise<void> {
    await this.call("confirm.select", {}, "ask for publisher confirms");
  }

  /** As `append`; it leaves at the end of this turn. */
  publish(
    to: { exchange: string; routingKey: string; mandatory: boolean },
    properties: AmqpProperties,
    body: Uint8Array | string,
  ): void {
    this.append(to, properties, body);
    this.connection.touch();
  }

  /**
   * Appends one message, which leaves with the next `flush` or `touch`. Throws EncodeError where it cannot be sent, and
   * then nothing of it was appended. On a lost channel it throws the channel's error. Data lane: per message.
   */
  append(
    to: { exchange: string; routingKey: string; mandatory: boolean },
    properties: AmqpProperties,
    body: Uint8Array | string,
  ): void {
    this.#mustBeOpen("publish");
    const { outbox, frameMax } = this.connection;
    const way = this.#way;
    if (
      way.frame.length === 0 || way.routingKey !== to.routingKey || way.exchange !== to.exchange ||
      way.mandatory !== to.mandatory
    ) this.#setWay(to);
    const start = outbox.length;
    outbox.bytes(this.#way.frame);
    try {
      encodeContent(outbox, this.id, properties, body, frameMax);
    } catch (error) {
      outbox.shift(outbox.length, start - outbox.length);
      throw error;
    }
  }

  /** Closes the channel; the server puts back what was not acknowledged. Twice is once. Never rejects. */
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
      // Gone with its connection: closed all the same.
    }
    this.#end(new ConnectionLost(`Cannot use AMQP: ${CLOSED}`));
  }

  /** Of AmqpConnection: a frame for this channel. Throws ProtocolError. */
  onFrame(type: number, payload: Uint8Array): void {
    if (type === 1) return this.#onMethod(decodeMethod(payload));
    // What comes while we close was sent before the server knew.
    const message = type === 2 ? this.#content.head(payload) : this.#content.part(payload);
    if (message !== null) this.#onMessage(message);
  }

  /** Of AmqpConnection: the connection is gone. */
  fail(error: Error): void {
    this.#end(error);
  }

  #setWay(to: { exchange: string; routingKey: string; mandatory: boolean }): void {
    const { exchange, routingKey, mandatory } = to;
    encodeMethod(scratch, this.id, BASIC_PUBLISH, { exchange, "routing-key": routingKey, mandatory });
    const view = scratch.take();
    this.#way = { exchange, routingKey, mandatory, frame: view.slice() };
    scratch.release(view);
  }

  #call(method: string, args: AmqpArgs, doing: string): Promise<AmqpCall | AmqpMessage> {
    const known = amqpMethod(method);
    assert(known.replies.length > 0, "a call has an answer");
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
      throw new ProtocolError(`Cannot read ${call.method.name}: a message's content was to come`);
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
    throw new ProtocolError(`Cannot understand ${method.name}: nothing was asked that it answers`);
  }

  #onMessage(message: AmqpMessage): void {
    if (this.#isClosing) return;
    const { method, args } = message.call;
    switch (method.name) {
      case "basic.deliver":
        // Unknown: cancelled just now, and this was on its way. The server takes it back with the channel.
        this.#consumers.get(args["consumer-tag"] as string)?.onMessage(message);
        return;
      case "basic.return":
        this.onReturn?.(message);
        return;
      default: {
        const waiter = this.#waiters.shift();
        if (waiter?.method.name !== "basic.get") {
          throw new ProtocolError("Cannot understand basic.get-ok: nothing was asked that it answers");
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
   * The call that a server closed the channel for; it gets the words. The server names its method, and of several such
   * calls that wait for their answers, its words name the queue or exchange.
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
