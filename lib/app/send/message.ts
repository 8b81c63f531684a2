/**
 * Turns calls into messages: route, ids, times, body. Publishes nothing.
 *
 * Source: celery 5.2.6 app/base.py send_task, app/amqp.py as_task_v2, _create_task_sender; protocol.md 1.1,
 * 1.5, 8.11.
 */

import { activeTracing } from "../../trace/mod.ts";
import { type OutgoingMessage, transportOf } from "../../transport/mod.ts";
import {
  type EncodedMessage,
  EncodeError,
  encodeEvent,
  encodeTaskMessage,
  eventRoutingKey,
  type ResultTuple,
  type TaskEmbed,
  type TaskEncoding,
  type TaskToSend,
} from "../../wire/mod.ts";
import { appBrokerUrls } from "../broker/connecting.ts";
import { type CurrentTask, currentTask } from "../call/current_task.ts";
import {
  chainSteps,
  checkCall,
  type PreparedSend,
  type SendCall,
  type SendOptions,
  wireSignature,
  wireSignatures,
  withoutEmpty,
} from "../call/send_options.ts";
import { checkLimits, etaText, type Expiry, expiryOf } from "../call/send_times.ts";
import { signals } from "../call/signals.ts";
import type { Destination } from "../conf/amqp.ts";
import type { AppCore } from "../core.ts";

const NO_OPTIONS: SendOptions = {};

/** Values that all messages of an App share; computed again when a setting changes. */
export interface Profile {
  readonly version: number;
  readonly encoding: TaskEncoding;
  readonly origin: string;
  readonly inheritsPriority: boolean;
  readonly sendsEvent: boolean;
  readonly isRpc: boolean;
  /** The broker confirms each message, possibly after the task has already run. */
  readonly isConfirmed: boolean;
}

/** Makes the messages of one App. */
export class MessageMaker {
  readonly #app: AppCore;
  #profile: Profile | null = null;

  constructor(app: AppCore) {
    this.#app = app;
  }

  /**
   * Makes the message of a call, with its route, ids and times, and records the child with the current task.
   * Throws `EncodeError`, which names the task, for an argument that cannot be sent, and `UsageError` for
   * options that contradict one another or that no worker could read. Cost: per message.
   */
  prepare(call: SendCall): PreparedSend {
    const { name, args, kwargs } = call;
    checkCall(name, args, kwargs);
    const profile = this.profile();
    const { world, amqp, oid } = this.#app;
    const given = withoutEmpty(call.options);
    const to = amqp.route(name, args, kwargs, given);
    const options = to.isKept ? overlaid(to.extras, given) : to.options;
    const id = options.taskId ?? world.random.id();
    const current = currentTask();
    const ignoreResult = options.ignoreResult ?? false;
    const softTimeLimit = options.softTimeLimit ?? null;
    const timeLimit = options.timeLimit ?? null;
    if (timeLimit !== null || softTimeLimit !== null) checkLimits(name, timeLimit, softTimeLimit);
    const isTimed = (options.countdown ?? options.eta ?? options.expires ?? null) !== null;
    const now = isTimed ? world.clock.wallMs() : 0;
    const expiry = expiryOf(options.expires, name, now);
    if (expiry !== null && expiry.pastSeconds > 0) this.#warnOfPast(id, expiry);
    const task: TaskToSend = {
      task: name,
      id,
      args: args as unknown[],
      kwargs: kwargs as Record<string, unknown>,
      shadow: options.shadow ?? null,
      eta: etaText(options, name, now),
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
    continueTrace(message.headers, { name, id, routingKey: to.routingKey }, current);
    if (current !== null && options.addToParent !== false) current.addChild(childTuple(id));
    return {
      taskId: id,
      outgoing: {
        exchange: to.exchange,
        routingKey: to.routingKey,
        message,
        queue: to.target,
        isMandatory: to.isMandatory,
      },
      queue: to.queue?.name ?? (to.exchange === "" ? to.routingKey : null),
      ignored: ignoreResult,
    };
  }

  /** Returns the shared values for the current settings. Cost: a comparison. */
  profile(): Profile {
    const { conf, world } = this.#app;
    const { version } = conf;
    if (this.#profile?.version === version) return this.#profile;
    const url = appBrokerUrls(this.#app, true)[0]!;
    const isVirtual = transportOf(url) !== "amqp" && conf.broker_transport_options["body_encoding"] !== null;
    return this.#profile = {
      version,
      encoding: {
        serializer: conf.task_serializer,
        compression: conf.task_compression || null,
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

  /** Sends `beforeTaskPublish` for a message, and returns the message with the receivers' changes. */
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
    const changed = { ...body[2], chain: chainSteps(body[2].chain) };
    const again = encode({ ...task, args: body[0], kwargs: body[1], embed: changed }, encoding);
    return { ...again, headers: message.headers, properties: message.properties };
  }

  #warnOfPast(id: string, { pastSeconds }: Expiry): void {
    this.#app.world.log.warning(
      `${id} has an expiration date in the past (${pastSeconds.toFixed(1)}s ago); ` +
        "its time to live is set to 0",
    );
  }

  /** Appends a `task-sent` event for each message. Source: celery 5.2.6 app/amqp.py send_task_message. */
  addSentEvents(batch: readonly PreparedSend[], outgoing: OutgoingMessage[]): void {
    const { conf, world, clock } = this.#app;
    const profile = this.profile();
    const { bodyEncoding } = profile.encoding;
    const now = world.clock.wallMs();
    // Hours west of UTC, rounded down as Celery does, because readers reverse exactly that.
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

/**
 * Adds trace headers to a call. If tracing is inactive here or the sending task is not recorded, these are
 * the sending task's own trace headers.
 */
function continueTrace(
  headers: Record<string, unknown>,
  facts: { readonly name: string; readonly id: string; readonly routingKey: string },
  current: CurrentTask | null,
): void {
  const tracing = activeTracing();
  if (tracing !== null && !current?.isUnsampled) return tracing.send(headers, facts);
  if (current === null || headers["traceparent"] !== undefined) return;
  const { carrier } = current;
  if (carrier !== null) Object.assign(headers, carrier);
}

function encode(task: TaskToSend, encoding: TaskEncoding): EncodedMessage {
  try {
    return encodeTaskMessage(task, encoding);
  } catch (error) {
    if (!(error instanceof EncodeError)) throw error;
    throw new EncodeError(`Cannot send task "${task.task}": ${error.message}`, { cause: error });
  }
}

/** Merges `over` on top of `under`; null, undefined and "" do not override. */
function overlaid(under: SendOptions | null, over: SendOptions | null): SendOptions {
  if (under === null) return over ?? NO_OPTIONS;
  if (over === null) return under;
  const result = { ...under } as Record<string, unknown>;
  for (const [key, value] of Object.entries(over)) {
    if (value !== null && value !== undefined && value !== "") result[key] = value;
  }
  return result as SendOptions;
}

function inheritedPriority(profile: Profile, current: CurrentTask | null): number {
  return profile.inheritsPriority && current !== null ? current.priority : 0;
}

function childTuple(id: string): ResultTuple {
  return [[id, null], null];
}

/** Returns null if the call has no links, chain or chord, as most calls. */
function embedOf(options: SendOptions): TaskEmbed | null {
  if (!options.link && !options.linkError && !options.chain && !options.chord) return null;
  return {
    callbacks: wireSignatures(options.link),
    errbacks: wireSignatures(options.linkError),
    chain: chainSteps(options.chain),
    chord: options.chord ? wireSignature(options.chord) : null,
  };
}

/**
 * Returns the stamps in `stamps`; others are taken from options of their name, where signatures carry them.
 */
function stampsOf(options: SendOptions): Record<string, unknown> {
  const stamps: Record<string, unknown> = { ...options.stamps };
  const all = options as Record<string, unknown>;
  for (const name of options.stampedHeaders ?? []) {
    if (!(name in stamps) && name in all) stamps[name] = all[name];
  }
  return stamps;
}
