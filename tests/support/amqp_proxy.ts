/**
 * RabbitMQ 4.3, or LavinMQ, simulated by a proxy in front of the installed RabbitMQ: it reports another
 * version, and refuses what that version refuses, with the same texts.
 *
 *     await using proxy = await startAmqpProxy(rabbit.port);           // tests/support/servers.ts
 *     connect(`amqp://guest:guest@127.0.0.1:${proxy.port}/`)
 *     (await proxy.seen()).refusals    // requests of our clients that were refused
 *
 * It is a program of its own, so that its pending reads do not count as leaks of a test:
 *
 *     amqp_proxy.ts TARGET-PORT PORT CONTROL-PORT OPTIONS-AS-JSON
 *
 * Only our own clients are refused (`product` is Lovage): Python's Celery 5.2.6 supports neither broker, and
 * works as with the RabbitMQ behind.
 *
 * Source: RabbitMQ 4.3.0 release notes, rabbit_deprecated_features.erl; LavinMQ src/lavinmq/amqp/channel.cr.
 */

import { Outbox } from "../../lib/base/mod.ts";
import {
  AMQP_FRAME_END,
  AMQP_FRAME_MAX,
  type AmqpArgs,
  AmqpFrameDecoder,
  decodeMethod,
  encodeMethod,
} from "../../lib/wire/mod.ts";

/** Which broker the proxy simulates. */
export interface AmqpProxyOptions {
  /** Default "RabbitMQ". */
  readonly product?: "RabbitMQ" | "LavinMQ";
  /** Default "4.3.0". */
  readonly version?: string;
  /** Queues without a type become quorum queues if they can be, as with the virtual host's default type. */
  readonly isQuorumByDefault?: boolean;
  /** Never send `connection.blocked`. Default true for LavinMQ. */
  readonly neverBlocks?: boolean;
}

/** A method that one of our clients sent. */
export interface ProxiedCall {
  /** Number of the client's connection, from 0. */
  readonly connection: number;
  readonly name: string;
  readonly args: AmqpArgs;
}

/** What a proxy has seen. */
export interface ProxySeen {
  /** Every method of our clients except publishes, acknowledgements and handshakes. */
  readonly calls: readonly ProxiedCall[];
  /** One line for each refusal. */
  readonly refusals: readonly string[];
  /** Number of publishes refused because the disk is nearly full. */
  readonly refusedPublishes: number;
}

/** A command on the control port: one line of JSON, answered by one line. */
type Command = { do: "seen" } | { do: "cut" } | { do: "low on disk"; value: boolean };

const TRANSIENT = "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.\n" +
  "By default, this feature is not permitted anymore.\n" +
  "The feature will be removed from a future major RabbitMQ version, regardless of the configuration; " +
  "actual version to be determined.\nTo...";
const GLOBAL_QOS = "NOT_IMPLEMENTED - Feature `global_qos` is deprecated.\n" +
  "By default, this feature is not permitted anymore.";
const LOW_DISK = "PRECONDITION_FAILED - Server low on disk space";
const UNRECORDED: ReadonlySet<string> = new Set([
  "basic.publish",
  "basic.ack",
  "connection.start-ok",
  "connection.tune-ok",
]);

/** Serves until the process ends. */
class Proxy {
  readonly options: AmqpProxyOptions;
  readonly calls: ProxiedCall[] = [];
  readonly refusals: string[] = [];
  isLowOnDisk = false;
  refusedPublishes = 0;
  #targetPort: number;
  #pairs = new Set<Pair>();
  #accepted = 0;

  constructor(targetPort: number, options: AmqpProxyOptions) {
    this.#targetPort = targetPort;
    this.options = options;
  }

  async serve(port: number): Promise<void> {
    for await (const client of Deno.listen({ hostname: "127.0.0.1", port })) {
      const pair = new Pair(this, client as Deno.TcpConn, this.#accepted++);
      this.#pairs.add(pair);
      void pair.run(this.#targetPort).finally(() => this.#pairs.delete(pair));
    }
  }

  async serveControl(port: number): Promise<void> {
    for await (const client of Deno.listen({ hostname: "127.0.0.1", port })) {
      try {
        const lines = client.readable.pipeThrough(new TextDecoderStream());
        let text = "";
        for await (const part of lines.values({ preventCancel: true })) {
          text += part;
          if (text.includes("\n")) break;
        }
        const answer = JSON.stringify(this.#execute(JSON.parse(text) as Command));
        const writer = client.writable.getWriter();
        await writer.write(new TextEncoder().encode(`${answer}\n`));
        await writer.close();
      } catch {
        // The asking test has gone.
      }
    }
  }

  #execute(command: Command): unknown {
    if (command.do === "seen") {
      const { calls, refusals, refusedPublishes } = this;
      return { calls, refusals, refusedPublishes } satisfies ProxySeen;
    }
    if (command.do === "low on disk") this.isLowOnDisk = command.value;
    else for (const pair of this.#pairs) pair.end();
    return this.#pairs.size;
  }
}

/** One client and its connection to the server. */
class Pair {
  #proxy: Proxy;
  #client: Deno.TcpConn;
  #server: Deno.TcpConn | null = null;
  #number: number;
  #isOurs = false;
  #isEnded = false;
  /** Channels that the proxy has closed: frames of a side are dropped until it has sent channel.close-ok. */
  #closing = { up: new Set<number>(), down: new Set<number>() };
  #toServer = new Outbox();
  #toClient = new Outbox();
  #writes: Record<"up" | "down", Promise<void>> = { up: Promise.resolve(), down: Promise.resolve() };

  constructor(proxy: Proxy, client: Deno.TcpConn, number: number) {
    this.#proxy = proxy;
    this.#client = client;
    this.#number = number;
  }

  async run(targetPort: number): Promise<void> {
    try {
      this.#server = await Deno.connect({ hostname: "127.0.0.1", port: targetPort });
      this.#client.setNoDelay(true);
      this.#server.setNoDelay(true);
      await Promise.all([this.#carryUp(this.#server), this.#carryDown(this.#server)]);
    } catch {
      // If one side has gone, end the other.
    } finally {
      this.end();
    }
  }

  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    for (const side of [this.#client, this.#server]) {
      try {
        side?.close();
      } catch {
        // closed already
      }
    }
  }

  async #carryUp(server: Deno.TcpConn): Promise<void> {
    const decoder = new AmqpFrameDecoder({
      onFrame: (type, channel, payload) => this.#onClientFrame(type, channel, payload),
    });
    decoder.setFrameMax(AMQP_FRAME_MAX);
    let header = 8;
    await this.#read(this.#client, (chunk) => {
      const count = Math.min(header, chunk.length);
      header -= count;
      this.#toServer.bytes(chunk.subarray(0, count));
      decoder.feed(chunk.subarray(count));
      this.#flush("up", server);
      this.#flush("down", this.#client);
    });
    this.end();
  }

  async #carryDown(server: Deno.TcpConn): Promise<void> {
    const decoder = new AmqpFrameDecoder({
      onFrame: (type, channel, payload) => this.#onServerFrame(type, channel, payload),
    });
    decoder.setFrameMax(AMQP_FRAME_MAX);
    await this.#read(server, (chunk) => {
      decoder.feed(chunk);
      this.#flush("down", this.#client);
    });
    await this.#writes.down;
    this.end();
  }

  async #read(side: Deno.TcpConn, take: (chunk: Uint8Array) => void): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    for (let count; (count = await side.read(buffer)) !== null;) {
      take(buffer.subarray(0, count));
      // Read on only after everything is written.
      await Promise.all([this.#writes.up, this.#writes.down]);
    }
  }

  #flush(direction: "up" | "down", side: Deno.TcpConn): void {
    const outbox = direction === "up" ? this.#toServer : this.#toClient;
    if (outbox.length === 0) return;
    const view = outbox.take();
    const bytes = view.slice();
    outbox.release(view);
    const writing = this.#writes[direction] = this.#writes[direction].then(async () => {
      for (let at = 0; at < bytes.length;) at += await side.write(bytes.subarray(at));
    });
    writing.catch(() => this.end());
  }

  #onClientFrame(type: number, channel: number, payload: Uint8Array): void {
    const call = type === 1 ? decodeMethod(payload) : null;
    if (this.#closing.up.has(channel)) {
      if (call?.method.name === "channel.close-ok") this.#closing.up.delete(channel);
      else if (call?.method.name === "channel.close") {
        encodeMethod(this.#toClient, channel, "channel.close-ok");
      }
      return;
    }
    if (call !== null) {
      const { args, method: { name, id } } = call;
      if (name === "connection.start-ok") {
        this.#isOurs = (args["client-properties"] as AmqpArgs)["product"] === "Lovage";
      }
      if (this.#isOurs) {
        if (!UNRECORDED.has(name)) this.#proxy.calls.push({ connection: this.#number, name, args });
        if (this.#isRefused({ channel, name, id, args })) return;
      }
      if (name === "queue.declare" && this.#proxy.options.isQuorumByDefault) {
        return encodeMethod(this.#toServer, channel, name, withDefaultType(args));
      }
    }
    copyFrame(this.#toServer, type, channel, payload);
  }

  #onServerFrame(type: number, channel: number, payload: Uint8Array): void {
    const call = type === 1 ? decodeMethod(payload) : null;
    if (this.#closing.down.has(channel)) {
      if (call?.method.name === "channel.close-ok") this.#closing.down.delete(channel);
      return;
    }
    const { product = "RabbitMQ", version = "4.3.0", neverBlocks = product === "LavinMQ" } =
      this.#proxy.options;
    const name = call?.method.name;
    if (neverBlocks && (name === "connection.blocked" || name === "connection.unblocked")) return;
    if (name === "connection.start") {
      const given = call!.args["server-properties"] as AmqpArgs;
      return encodeMethod(this.#toClient, channel, "connection.start", {
        ...call!.args,
        "server-properties": { ...given, product, version },
      });
    }
    copyFrame(this.#toClient, type, channel, payload);
  }

  /** Refuses a method if the simulated broker does. */
  #isRefused(call: { channel: number; name: string; id: number; args: AmqpArgs }): boolean {
    const { name, args } = call;
    const proxy = this.#proxy;
    if (name === "basic.publish" && proxy.isLowOnDisk) {
      proxy.refusedPublishes++;
      return this.#closeChannel(call, 406, LOW_DISK);
    }
    if (proxy.options.product === "LavinMQ") return false;
    if (name === "basic.qos" && args["global"] === true) {
      proxy.refusals.push("basic.qos global=true");
      return this.#closeChannel(call, 540, GLOBAL_QOS);
    }
    if (name !== "queue.declare" || args["passive"] === true) return false;
    const queue = args["queue"] as string;
    const given = args["arguments"] as AmqpArgs;
    if (args["durable"] !== true && args["exclusive"] !== true) {
      proxy.refusals.push(`queue.declare "${queue}" neither durable nor exclusive`);
      return this.#closeConnection(call, 541, TRANSIENT);
    }
    const withdrawn = Object.keys(given).find((key) =>
      key === "x-queue-mode" || key === "x-queue-master-locator" ||
      (key === "x-queue-version" && Number(given[key]) === 1)
    );
    if (withdrawn === undefined) return false;
    proxy.refusals.push(`queue.declare "${queue}" with ${withdrawn}`);
    const text =
      `PRECONDITION_FAILED - invalid arg '${withdrawn}' for queue '${queue}' in vhost '/' of queue type ` +
      "rabbit_classic_queue";
    return this.#closeChannel(call, 406, text);
  }

  #closeChannel({ channel, id }: { channel: number; id: number }, code: number, text: string): true {
    this.#closing.up.add(channel);
    this.#closing.down.add(channel);
    encodeMethod(this.#toServer, channel, "channel.close", { "reply-code": 200, "reply-text": "proxy" });
    encodeMethod(this.#toClient, channel, "channel.close", blame(id, code, text));
    return true;
  }

  #closeConnection({ id }: { id: number }, code: number, text: string): true {
    encodeMethod(this.#toClient, 0, "connection.close", blame(id, code, text));
    this.#flush("down", this.#client);
    this.#writes.down.then(() => this.end(), () => {});
    return true;
  }
}

function blame(id: number, code: number, text: string): AmqpArgs {
  return {
    "reply-code": code,
    "reply-text": text.slice(0, 255),
    "class-id": id >> 16,
    "method-id": id & 0xffff,
  };
}

function withDefaultType(args: AmqpArgs): AmqpArgs {
  const given = args["arguments"] as AmqpArgs;
  const canBe = args["durable"] === true && args["exclusive"] !== true && args["auto-delete"] !== true;
  if (!canBe || args["passive"] === true || "x-queue-type" in given) return args;
  return { ...args, arguments: { ...given, "x-queue-type": "quorum" } };
}

function copyFrame(outbox: Outbox, type: number, channel: number, payload: Uint8Array): void {
  const head = new Uint8Array(7);
  const view = new DataView(head.buffer);
  view.setUint8(0, type);
  view.setUint16(1, channel);
  view.setUint32(3, payload.length);
  outbox.bytes(head);
  outbox.bytes(payload);
  outbox.bytes(Uint8Array.of(AMQP_FRAME_END));
}

if (import.meta.main) {
  const [targetPort, port, controlPort, options] = Deno.args;
  const parent = Deno.ppid;
  // The starting process may have been killed.
  setInterval(() => Deno.ppid === parent || Deno.exit(), 2000);
  const proxy = new Proxy(Number(targetPort), JSON.parse(options!));
  await Promise.all([proxy.serve(Number(port)), proxy.serveControl(Number(controlPort))]);
}
