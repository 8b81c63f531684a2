/**
 * The server's side of one AMQP connection, in memory, controlled by a test: what the client sends is
 * recorded, what the test says is sent. `answer` replies to handshakes and the usual calls; all else is up to
 * the test.
 */

import { type ByteStream, type Dialer, DialError, Outbox } from "../../lib/base/mod.ts";
import {
  type AmqpCall,
  AmqpFrameDecoder,
  AmqpProperties,
  decodeMethod,
  encodeContent,
  encodeHeartbeat,
  encodeMethod,
} from "../../lib/wire/mod.ts";

/** A call of the client. */
export interface Heard {
  readonly channel: number;
  readonly name: string;
  readonly args: Record<string, unknown>;
}

/** The scripted server. One connection. */
export class AmqpScript {
  readonly heard: Heard[] = [];
  /** Number of heartbeats and contents of bodies that the client sent. */
  heartbeats = 0;
  readonly bodies: string[] = [];
  isClosed = false;
  /** Handles a call; by default with `answer`. */
  onCall: (heard: Heard) => void = (heard) => this.answer(heard);
  #outbox = new Outbox();
  #incoming: Uint8Array[] = [];
  #wakeReader: (() => void) | null = null;
  #header = 8;
  #heartbeat: number;
  #properties: Record<string, unknown>;
  #decoder = new AmqpFrameDecoder({
    onFrame: (type, channel, payload) => {
      if (type === 8) this.heartbeats++;
      else if (type === 3) this.bodies.push(new TextDecoder().decode(payload));
      else if (type === 1) this.#onMethod(channel, decodeMethod(payload));
    },
  });

  /** `properties`: server properties other than capabilities. */
  constructor(options: { heartbeat?: number; properties?: Record<string, unknown> } = {}) {
    this.#heartbeat = options.heartbeat ?? 60;
    this.#properties = options.properties ?? { product: "Script" };
  }

  /** Returns a dialer whose only stream leads here. */
  dialer(): Dialer {
    let isTaken = false;
    return {
      dial: () => {
        if (isTaken) return Promise.reject(new DialError("Cannot connect: the script has one connection"));
        isTaken = true;
        return Promise.resolve(this.#stream());
      },
    };
  }

  /** Sends a method. */
  say(channel: number, name: string, args: Record<string, unknown> = {}): void {
    encodeMethod(this.#outbox, channel, name, args);
    this.#flush();
  }

  /** Sends a delivery. */
  deliver(
    channel: number,
    args: { tag: number; consumer?: string; redelivered?: boolean; key?: string },
    body: string,
    headers: Record<string, unknown> = {},
    properties: Partial<AmqpProperties> = {},
  ): void {
    encodeMethod(this.#outbox, channel, "basic.deliver", {
      "consumer-tag": args.consumer ?? "lovage-1",
      "delivery-tag": args.tag,
      redelivered: args.redelivered ?? false,
      "routing-key": args.key ?? "q",
    });
    const all = Object.assign(new AmqpProperties(), { headers }, properties);
    encodeContent(this.#outbox, channel, all, body, 4096);
    this.#flush();
  }

  /** Sends bytes unchanged. */
  raw(bytes: Uint8Array): void {
    this.#outbox.bytes(bytes);
    this.#flush();
  }

  beat(): void {
    encodeHeartbeat(this.#outbox);
    this.#flush();
  }

  /** Ends the stream from the server's side. */
  hangUp(): void {
    this.isClosed = true;
    this.#wakeReader?.();
  }

  /** Returns the calls with one name. */
  calls(name: string): Heard[] {
    return this.heard.filter((one) => one.name === name);
  }

  /** Sends the usual reply to a call, if there is one. */
  answer({ channel, name, args }: Heard): void {
    switch (name) {
      case "connection.start-ok":
        return this.say(0, "connection.tune", {
          "channel-max": 2047,
          "frame-max": 131_072,
          heartbeat: this.#heartbeat,
        });
      case "connection.tune-ok":
        return;
      case "basic.consume":
        return this.say(channel, "basic.consume-ok", { "consumer-tag": args["consumer-tag"] });
      case "basic.cancel":
        return this.say(channel, "basic.cancel-ok", { "consumer-tag": args["consumer-tag"] });
      case "queue.declare":
        return this.say(channel, "queue.declare-ok", { queue: args["queue"] });
      case "connection.open":
      case "connection.close":
      case "connection.update-secret":
      case "channel.open":
      case "channel.close":
      case "confirm.select":
      case "basic.qos":
      case "exchange.declare":
      case "queue.bind":
        return this.say(channel, `${name}-ok`);
    }
  }

  #onMethod(channel: number, { method, args }: AmqpCall): void {
    const heard = { channel, name: method.name, args };
    this.heard.push(heard);
    this.onCall(heard);
  }

  #flush(): void {
    const view = this.#outbox.take();
    this.#incoming.push(view.slice());
    this.#outbox.release(view);
    this.#wakeReader?.();
  }

  #stream(): ByteStream {
    return {
      read: async (buffer) => {
        while (this.#incoming.length === 0) {
          if (this.isClosed) return null;
          await new Promise<void>((resolve) => this.#wakeReader = resolve);
          this.#wakeReader = null;
        }
        const chunk = this.#incoming.shift()!;
        const part = chunk.subarray(0, buffer.length);
        buffer.set(part);
        if (part.length < chunk.length) this.#incoming.unshift(chunk.subarray(part.length));
        return part.length;
      },
      write: (bytes) => {
        if (this.isClosed) return Promise.reject(new Error("broken pipe"));
        let rest = bytes;
        if (this.#header > 0) {
          const count = Math.min(this.#header, rest.length);
          this.#header -= count;
          rest = rest.subarray(count);
          if (this.#header === 0) {
            this.say(0, "connection.start", {
              "version-minor": 9,
              "server-properties": { ...this.#properties, capabilities: { "basic.nack": true } },
              mechanisms: "PLAIN AMQPLAIN EXTERNAL",
              locales: "en_US",
            });
          }
        }
        if (rest.length > 0) this.#decoder.feed(rest);
        return Promise.resolve();
      },
      close: () => this.hangUp(),
    };
  }
}
