/**
 * Calls made into messages and handed to the publisher.
 *
 * `prepare` is synchronous and does everything for one message; `send` adds one publish, `sendMany`
 * publishes in parts of `CHUNK` and encodes the next while earlier ones are on their way.
 *
 * Source: celery 5.2.6 app/base.py send_task, app/amqp.py as_task_v2, _create_task_sender; protocol.md 1.1,
 * 1.5, 8.11.
 */

import { UsageError } from "../base/mod.ts";
import { Signature } from "../canvas/mod.ts";
import { type OutgoingMessage, transportOf } from "../transport/mod.ts";
import {
  type EncodedMessage,
  EncodeError,
  encodeEvent,
  encodeTaskMessage,
  eventRoutingKey,
  isSerializerLoaded,
  loadSerializer,
  parseIso,
  type ResultTuple,
  type TaskEmbed,
  type TaskEncoding,
  type TaskToSend,
  toPythonIso,
} from "../wire/mod.ts";
import type { Destination } from "./amqp.ts";
import type { App } from "./app.ts";
import { appBrokerUrls } from "./connecting.ts";
import { type CurrentTask, currentTask } from "./current_task.ts";
import { AsyncResult } from "./results.ts";
import {
  chainSteps,
  type PreparedSend,
  type SendCall,
  type SendOptions,
  wireSignature,
  wireSignatures,
} from "./send_options.ts";
import { signals } from "./signals.ts";
import type { AnyTask } from "./task.ts";

/** Messages to a publish of `sendMany`. */
const CHUNK = 256;
/** Characters or bytes of bodies after which a part is published though it holds fewer. */
const CHUNK_BODY_MAX = 1 << 20;
/** Parts of `sendMany` on their way at once. */
const IN_FLIGHT_MAX = 3;

/** One call of `sendMany`. `task` is a task or its name. */
export type SendManyItem =
  | Signature
  | {
    readonly task: string | AnyTask;
    readonly args?: readonly unknown[];
    readonly kwargs?: Readonly<Record<string, unknown>>;
    readonly options?: SendOptions;
  };

const NO_OPTIONS: SendOptions = {};
const NO_KWARGS: Readonly<Record<string, unknown>> = {};
const NO_ARGS: readonly unknown[] = [];

/** What every message of an App shares; made again when a setting changes. */
interface Profile {
  readonly version: number;
  readonly encoding: TaskEncoding;
  readonly origin: string;
  readonly inheritsPriority: boolean;
  readonly sendsEvent: boolean;
  readonly isRpc: boolean;
  /** The broker says of each message that it has it, later than a task may have run. */
  readonly isConfirmed: boolean;
}

/** The producer of one App. */
export class Sender {
  readonly #app: App;
  #profile: Profile | null = null;

  constructor(app: App) {
    this.#app = app;
  }

  /** Sends one call; resolves with its result when the broker has the message, by its word or by the task's result. */
  async send(
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: SendOptions | null,
  ): Promise<AsyncResult> {
    const getReady = this.ready(options);
    if (getReady) await getReady;
    const prepared = this.prepare({ name, args, kwargs, options });
    const publishing = this.publish([prepared], options);
    const { ahead, opened } = this.#app.backend;
    const isAhead = !prepared.ignored && this.#profileNow().isConfirmed;
    const result = isAhead ? ahead.sending(prepared.taskId, opened) : null;
    await (result === null ? publishing : Promise.race([publishing, result]));
    return this.#resultOf(prepared, name);
  }

  /** Sends many calls, in order; their results in the same order. */
  async sendMany(calls: Iterable<SendManyItem>): Promise<AsyncResult[]> {
    const getReady = this.ready(null);
    if (getReady) await getReady;
    const { publisher } = this.#app;
    const results: AsyncResult[] = [];
    const inFlight: Promise<void>[] = [];
    const taskOptions = new Map<unknown, SendOptions>();
    let batch: OutgoingMessage[] = [];
    let prepared: PreparedSend[] = [];
    let bodySize = 0;
    const flush = async () => {
      if (batch.length > 0) {
        if (this.#profile?.sendsEvent) this.#addSentEvents(prepared, batch);
        inFlight.push(this.#handOver(publisher.publish(batch), prepared));
        batch = [];
        prepared = [];
        bodySize = 0;
      }
      if (inFlight.length >= IN_FLIGHT_MAX) await inFlight.shift();
    };
    try {
      for (const item of calls) {
        const apart = this.#sentApart(item);
        if (apart) {
          await flush();
          results.push(await apart);
          continue;
        }
        const call = this.#callOf(item, taskOptions);
        if (call.options !== null) {
          const more = this.ready(call.options);
          if (more) await more;
        }
        const one = this.prepare(call);
        batch.push(one.outgoing);
        prepared.push(one);
        results.push(this.#resultOf(one, call.name));
        bodySize += one.outgoing.message.body.length;
        if (batch.length >= CHUNK || bodySize >= CHUNK_BODY_MAX) await flush();
      }
    } finally {
      // What was prepared before a call that cannot be sent is still sent, as one by one it would have been.
      if (batch.length > 0) await flush();
      const ended = await Promise.allSettled(inFlight);
      const failed = ended.find((one) => one.status === "rejected");
      // deno-lint-ignore no-unsafe-finally -- a lost broker outweighs the call that could not be encoded
      if (failed) throw failed.reason;
    }
    return results;
  }

  /** Publishes prepared calls in one batch. */
  async publish(batch: readonly PreparedSend[], options: SendOptions | null): Promise<void> {
    const { publisher } = this.#app;
    const outgoing = batch.map((one) => one.outgoing);
    if (this.#profile?.sendsEvent) this.#addSentEvents(batch, outgoing);
    const { retry, retryPolicy } = options ?? NO_OPTIONS;
    const isOver = outgoing.length === 1 && (currentTask()?.isOver ?? false);
    const publishing = retry === undefined && retryPolicy === undefined && !isOver
      ? publisher.publish(outgoing)
      : publisher.publish(outgoing, { retry, retryPolicy, isOver });
    await this.#handOver(publishing, batch);
  }

  /** Tells of calls that somebody else published: `task-sent` events where asked for, `afterTaskPublish`. */
  async announce(batch: readonly PreparedSend[]): Promise<void> {
    const events: OutgoingMessage[] = [];
    if (this.#profileNow().sendsEvent) this.#addSentEvents(batch, events);
    await this.#handOver(events.length > 0 ? this.#app.publisher.publish(events) : Promise.resolve(), batch);
  }

  /** What must be loaded or opened before `prepare`; null where all is there. */
  ready(options: SendOptions | null): Promise<void> | null {
    const { isRpc, encoding } = this.#profileNow();
    const serializer = options?.serializer ?? encoding.serializer;
    if (isSerializerLoaded(serializer) && (!isRpc || this.#app.backend.opened?.isListening)) return null;
    return this.#getReady(serializer, isRpc);
  }

  /**
   * The message of a call, with its route, ids and times. Throws `EncodeError` (an argument cannot be sent)
   * naming the task, `UsageError` for options that contradict one another. Records the child with the
   * current task. Cost: per message.
   */
  prepare(call: SendCall): PreparedSend {
    const { name, args, kwargs } = call;
    const profile = this.#profileNow();
    const { world, amqp, oid } = this.#app;
    const to = amqp.route(name, args, kwargs, call.options);
    const options = to.isKept ? overlaid(to.extras, call.options) : to.options;
    const id = options.taskId ?? world.random.id();
    const current = currentTask();
    const ignoreResult = options.ignoreResult ?? false;
    const softTimeLimit = options.softTimeLimit ?? null;
    const timeLimit = options.timeLimit ?? null;
    if (softTimeLimit !== null && timeLimit !== null && softTimeLimit > timeLimit) {
      throw new UsageError(
        `Cannot send task "${name}": soft_time_limit ${softTimeLimit} must be less than or equal to ` +
          `time_limit ${timeLimit}`,
      );
    }
    const expires = options.expires ?? null;
    const expiry = expires === null ? null : this.#expiry(expires, id);
    const task: TaskToSend = {
      task: name,
      id,
      args: args as unknown[],
      kwargs: kwargs as Record<string, unknown>,
      shadow: options.shadow ?? null,
      eta: this.#eta(options, name),
      expires: expiry === null ? null : expiry.text,
      group: options.groupId ?? null,
      groupIndex: options.groupIndex ?? null,
      retries: options.retries ?? 0,
      timeLimit,
      softTimeLimit,
      rootId: options.rootId ?? (current === null ? id : current.rootId),
      parentId: options.parentId ?? (current === null ? null : current.id),
      argsrepr: options.argsrepr ?? null,
      kwargsrepr: options.kwargsrepr ?? null,
      origin: options.origin ?? profile.origin,
      ignoreResult,
      replacedTaskNesting: options.replacedTaskNesting ?? 0,
      stampedHeaders: options.stampedHeaders ? [...options.stampedHeaders] : null,
      stamps: options.stampedHeaders ? stampsOf(options) : {},
      custom: options.headers ?? null,
      replyTo: options.replyTo ?? (profile.isRpc ? this.#app.backend.opened?.replyTo ?? oid : oid),
      priority: to.priority ?? inheritedPriority(profile, current),
      deliveryMode: to.deliveryMode,
      expiration: expiry === null ? null : expiry.expiration,
    };
    const embed = embedOf(options);
    if (embed !== null) task.embed = embed;
    const encoding =
      to.serializer === profile.encoding.serializer && to.compression === profile.encoding.compression
        ? profile.encoding
        : { ...profile.encoding, serializer: to.serializer, compression: to.compression };
    let message = encode(task, encoding);
    if (options.correlationId) message.properties.correlationId = options.correlationId;
    if (signals.beforeTaskPublish.hasReceivers) message = this.#offered(task, encoding, message, to, options);
    if (current !== null && options.addToParent !== false) current.addChild(childTuple(id));
    return {
      taskId: id,
      outgoing: { exchange: to.exchange, routingKey: to.routingKey, message },
      queue: to.queue?.name ?? (to.exchange === "" ? to.routingKey : null),
      ignored: ignoreResult,
    };
  }

  #profileNow(): Profile {
    const { conf, world } = this.#app;
    const { version } = conf;
    if (this.#profile?.version === version) return this.#profile;
    const url = appBrokerUrls(this.#app, true)[0]!;
    const isVirtual = transportOf(url) !== "amqp" && conf.broker_transport_options["body_encoding"] !== null;
    return this.#profile = {
      version,
      encoding: {
        serializer: conf.task_serializer,
        compression: conf.task_compression,
        protocol: conf.task_protocol,
        bodyEncoding: isVirtual ? "base64" : "none",
      },
      origin: `gen${world.host.pid}@${world.host.hostname}`,
      inheritsPriority: conf.task_inherit_parent_priority,
      sendsEvent: conf.task_send_sent_event,
      isRpc: conf.result_backend?.startsWith("rpc") ?? false,
      isConfirmed: transportOf(url) === "amqp" && conf.broker_transport_options["confirm_publish"] !== false,
    };
  }

  async #getReady(serializer: string, isRpc: boolean): Promise<void> {
    await loadSerializer(serializer);
    if (isRpc) await this.#app.backend.openToSend();
  }

  #resultOf(prepared: PreparedSend, name: string): AsyncResult {
    return new AsyncResult(prepared.taskId, this.#app, { ignored: prepared.ignored, name });
  }

  #callOf(item: SendManyItem, known: Map<unknown, SendOptions>): SendCall {
    if (item instanceof Signature) {
      return { name: item.task, args: item.args, kwargs: item.kwargs, options: item.options as SendOptions };
    }
    const { task } = item;
    const args = item.args ?? NO_ARGS;
    const kwargs = item.kwargs ?? NO_KWARGS;
    if (typeof task === "string") return { name: task, args, kwargs, options: item.options ?? null };
    if (task.options.typing) task.checkArguments(args, kwargs);
    let own = known.get(task);
    if (!own) {
      own = task.sendOptions;
      known.set(task, own);
    }
    return { name: task.name, args, kwargs, options: item.options ? overlaid(own, item.options) : own };
  }

  /** Composites, and tasks where calls run at once, are no single message. */
  #sentApart(item: SendManyItem): Promise<AsyncResult> | null {
    const isEager = this.#app.conf.task_always_eager;
    if (item instanceof Signature) {
      if (item.subtaskType === null && !isEager) return null;
      return item.applyAsync() as unknown as Promise<AsyncResult>;
    }
    if (!isEager || typeof item.task === "string") return null;
    return item.task.applyAsync(item.args, item.kwargs, item.options);
  }

  /** Waits for a publish and tells `afterTaskPublish`. */
  #handOver(publishing: Promise<void>, batch: readonly PreparedSend[]): Promise<void> {
    if (!signals.afterTaskPublish.hasReceivers) return publishing;
    return publishing.then(() => {
      for (const { outgoing } of batch) {
        const { exchange, routingKey, message } = outgoing;
        const sender = String(message.headers["task"] ?? "");
        signals.afterTaskPublish.send(
          sender,
          { body: message.body, headers: message.headers, exchange, routingKey },
          this.#app.world.log,
        );
      }
    });
  }

  /** Offers a message to `beforeTaskPublish`; what receivers changed is in the one returned. */
  #offered(
    task: TaskToSend,
    encoding: TaskEncoding,
    message: EncodedMessage,
    to: Destination,
    options: SendOptions,
  ): EncodedMessage {
    const { callbacks = null, errbacks = null, chain = null, chord = null } = task.embed ?? {};
    const embed = { callbacks, errbacks, chain: chain?.all() ?? null, chord };
    const body: [unknown[], Record<string, unknown>, typeof embed] = [task.args, task.kwargs, embed];
    signals.beforeTaskPublish.send(task.task, {
      body,
      exchange: to.exchange,
      routingKey: to.routingKey,
      headers: message.headers,
      properties: message.properties,
      declare: to.queue ? [to.queue] : [],
      retryPolicy: options.retryPolicy ?? null,
    }, this.#app.world.log);
    const told = { ...body[2], chain: chainSteps(body[2].chain) };
    const again = encode({ ...task, args: body[0], kwargs: body[1], embed: told }, encoding);
    return { ...again, headers: message.headers, properties: message.properties };
  }

  /** The time from which it may run, as text. A countdown of 0 is none. */
  #eta(options: SendOptions, name: string): string | null {
    const { countdown, eta } = options;
    if (countdown) {
      if (!Number.isFinite(countdown)) {
        throw new UsageError(`Cannot send task "${name}": countdown must be a number of seconds`);
      }
      return toPythonIso(this.#app.world.clock.wallMs() + countdown * 1000);
    }
    if (!eta) return null;
    return typeof eta === "string" ? eta : toPythonIso(eta.getTime());
  }

  /** `expires` as text for the header, and the time until then in milliseconds for the broker. */
  #expiry(expires: number | Date | string, id: string): { text: string; expiration: string | null } {
    const { clock, log } = this.#app.world;
    const now = clock.wallMs();
    let at: number;
    if (typeof expires === "number") at = now + expires * 1000;
    else if (expires instanceof Date) at = expires.getTime();
    else {
      try {
        at = parseIso(expires);
      } catch {
        // Passed on as it is, as Celery does: the worker says what is wrong with it.
        return { text: expires, expiration: null };
      }
    }
    if (Number.isNaN(at)) {
      throw new UsageError(`Cannot send task: expires must be seconds, a date or ISO 8601 text`);
    }
    if (at < now) {
      log.warning(
        `${id} has an expiration date in the past (${((now - at) / 1000).toFixed(1)}s ago); ` +
          "its time to live is set to 0",
      );
    }
    const text = typeof expires === "string" ? expires : toPythonIso(at);
    return { text, expiration: String(Math.trunc(Math.max(0, at - now))) };
  }

  /** Puts a `task-sent` event behind each message. Source: celery 5.2.6 app/amqp.py send_task_message. */
  #addSentEvents(batch: readonly PreparedSend[], outgoing: OutgoingMessage[]): void {
    const { conf, world, clock } = this.#app;
    const profile = this.#profileNow();
    const { bodyEncoding } = profile.encoding;
    const now = world.clock.wallMs();
    // Hours west of UTC, rounded down as Celery does: readers undo just that.
    const utcOffset = Math.floor(new Date(now).getTimezoneOffset() / 60);
    for (const { taskId, outgoing: sent, queue } of batch) {
      const { headers } = sent.message;
      const event = {
        type: "task-sent",
        hostname: profile.origin,
        utcOffset,
        pid: world.host.pid,
        clock: clock.forward(),
        timestamp: now / 1000,
        fields: {
          uuid: taskId,
          root_id: headers["root_id"] ?? null,
          parent_id: headers["parent_id"] ?? null,
          name: headers["task"] ?? null,
          args: headers["argsrepr"] ?? null,
          kwargs: headers["kwargsrepr"] ?? null,
          retries: headers["retries"] ?? 0,
          eta: headers["eta"] ?? null,
          expires: headers["expires"] ?? null,
          queue,
          exchange: sent.exchange,
          routing_key: sent.routingKey,
        },
      };
      outgoing.push({
        exchange: conf.event_exchange,
        routingKey: eventRoutingKey("task-sent"),
        message: encodeEvent(event, { serializer: conf.event_serializer, bodyEncoding }),
      });
    }
  }
}

function encode(task: TaskToSend, encoding: TaskEncoding): EncodedMessage {
  try {
    return encodeTaskMessage(task, encoding);
  } catch (error) {
    if (!(error instanceof EncodeError)) throw error;
    throw new EncodeError(`Cannot send task "${task.task}": ${error.message}`, { cause: error });
  }
}

/** `over` on `under`, where it says anything. */
function overlaid(under: SendOptions | null, over: SendOptions | null): SendOptions {
  if (under === null) return over ?? NO_OPTIONS;
  if (over === null) return under;
  const result = { ...under } as Record<string, unknown>;
  for (const [key, value] of Object.entries(over)) {
    if (value !== null && value !== undefined) result[key] = value;
  }
  return result as SendOptions;
}

function inheritedPriority(profile: Profile, current: CurrentTask | null): number {
  return profile.inheritsPriority && current !== null ? current.priority : 0;
}

function childTuple(id: string): ResultTuple {
  return [[id, null], null];
}

/** Null: nothing hangs on it, as with most messages. */
function embedOf(options: SendOptions): TaskEmbed | null {
  if (!options.link && !options.linkError && !options.chain && !options.chord) return null;
  return {
    callbacks: wireSignatures(options.link),
    errbacks: wireSignatures(options.linkError),
    chain: chainSteps(options.chain),
    chord: options.chord ? wireSignature(options.chord) : null,
  };
}

/** Stamps as `stamps` gives them, else under their own names among the options (signatures carry them so). */
function stampsOf(options: SendOptions): Record<string, unknown> {
  const stamps: Record<string, unknown> = { ...options.stamps };
  const all = options as Record<string, unknown>;
  for (const name of options.stampedHeaders ?? []) {
    if (!(name in stamps) && name in all) stamps[name] = all[name];
  }
  return stamps;
}
