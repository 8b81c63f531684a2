/**
 * Makes messages (message.ts) and passes them to the publisher: `send` publishes one call; `sendMany`
 * publishes in chunks of `CHUNK` calls and encodes the next chunk while earlier ones are under way.
 *
 * Source: celery 5.2.6 app/base.py send_task, app/amqp.py send_task_message.
 */

import { namesOf, refuseUnknown } from "../../base/mod.ts";
import { Signature } from "../../canvas/mod.ts";
import { isTracingDue, startTracing } from "../../trace/mod.ts";
import type { OutgoingMessage } from "../../transport/mod.ts";
import { isSerializerLoaded, loadSerializer } from "../../wire/mod.ts";
import { currentTask, unsampledTrace } from "../call/current_task.ts";
import {
  type PreparedSend,
  RETRY_POLICY_NAMES,
  SEND_OPTION_NAMES,
  type SendCall,
  type SendOptions,
} from "../call/send_options.ts";
import { signals } from "../call/signals.ts";
import { callOptions, optionsByName } from "../conf/call_options.ts";
import type { AppCore, RunnableTask } from "../core.ts";
import { AsyncResult } from "../result/results.ts";
import { signatureCall } from "./canvas_send.ts";
import { MessageMaker } from "./message.ts";

/** Maximum messages in a chunk of `sendMany`. */
const CHUNK = 256;
/** Characters or bytes of bodies at which a chunk is published although it has fewer messages. */
const CHUNK_BODY_MAX = 1 << 20;
/** Maximum chunks of `sendMany` under way at once. */
const IN_FLIGHT_MAX = 3;

/** One call of `sendMany`: a signature, or a task (or its name) with arguments and options. */
export type SendManyItem =
  | Signature
  | {
    readonly task: string | RunnableTask;
    readonly args?: readonly unknown[];
    readonly kwargs?: Readonly<Record<string, unknown>>;
    readonly options?: SendOptions;
  };

const ITEM_NAMES = namesOf<Exclude<SendManyItem, Signature>>({
  task: true,
  args: true,
  kwargs: true,
  options: true,
});
const NO_OPTIONS: SendOptions = {};
const NO_KWARGS: Readonly<Record<string, unknown>> = {};
const NO_ARGS: readonly unknown[] = [];

/** The producer of one App. */
export class Producer {
  readonly #app: AppCore;
  readonly #maker: MessageMaker;

  constructor(app: AppCore) {
    this.#app = app;
    this.#maker = new MessageMaker(app);
  }

  /**
   * Sends one call. Resolves with its result when the broker has confirmed the message, or the task's result
   * is there. Rejects as `prepare` throws, with the broker's error, and with the error of a result store over
   * rpc.
   */
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
    const isAhead = !prepared.ignored && this.#maker.profile().isConfirmed;
    const result = isAhead ? ahead.sending(prepared.taskId, opened) : null;
    await (result === null ? publishing : Promise.race([publishing, result]));
    return this.#resultOf(prepared, name);
  }

  /**
   * Sends many calls in order. Resolves with their results in the same order. Rejects like `send`; calls
   * before the failed one are sent.
   */
  async sendMany(calls: Iterable<SendManyItem>): Promise<AsyncResult[]> {
    const getReady = this.ready(null);
    if (getReady) await getReady;
    const { publisher } = this.#app;
    const results: AsyncResult[] = [];
    const inFlight: Promise<void>[] = [];
    let batch: OutgoingMessage[] = [];
    let prepared: PreparedSend[] = [];
    let bodySize = 0;
    const flush = async () => {
      if (batch.length > 0) {
        if (this.#maker.profile().sendsEvent) this.#maker.addSentEvents(prepared, batch);
        inFlight.push(this.#reportPublished(publisher.publish(batch), prepared));
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
        const call = this.#callOf(item);
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
      // Calls prepared before the one that failed are still sent, as they would be one by one.
      if (batch.length > 0) await flush();
      const ended = await Promise.allSettled(inFlight);
      const failed = ended.find((one) => one.status === "rejected");
      // deno-lint-ignore no-unsafe-finally -- a lost broker outweighs the call that could not be encoded
      if (failed) throw failed.reason;
    }
    return results;
  }

  /**
   * Publishes prepared calls in one batch. Rejects with the broker's error, and with UsageError for an
   * unknown retry policy.
   */
  async publish(batch: readonly PreparedSend[], options: SendOptions | null): Promise<void> {
    const { publisher } = this.#app;
    const outgoing = batch.map((one) => one.outgoing);
    if (this.#maker.profile().sendsEvent) this.#maker.addSentEvents(batch, outgoing);
    const { retry, retryPolicy } = options ?? NO_OPTIONS;
    if (retryPolicy) refuseUnknown(retryPolicy, RETRY_POLICY_NAMES, "retryPolicy");
    const handOn = outgoing.length === 1 && (currentTask()?.isIdle ?? false);
    const publishing = retry === undefined && retryPolicy === undefined && !handOn
      ? publisher.publish(outgoing)
      : publisher.publish(outgoing, { retry, retryPolicy, handOn });
    await this.#reportPublished(publishing, batch);
  }

  /**
   * Reports calls that other code has published: `task-sent` events if they are enabled, and
   * `afterTaskPublish`.
   */
  async announce(batch: readonly PreparedSend[]): Promise<void> {
    const events: OutgoingMessage[] = [];
    if (this.#maker.profile().sendsEvent) this.#maker.addSentEvents(batch, events);
    await this.#reportPublished(
      events.length > 0 ? this.#app.publisher.publish(events) : Promise.resolve(),
      batch,
    );
  }

  /** Loads and opens what `prepare` needs; returns null if everything is there. */
  ready(options: SendOptions | null): Promise<void> | null {
    const { isRpc, encoding } = this.#maker.profile();
    const serializer = options?.serializer || encoding.serializer;
    const hasParts = isSerializerLoaded(serializer) && (!isRpc || this.#app.backend.opened?.isListening);
    if (hasParts && !isTracingDue(this.#app.world)) return null;
    return this.#getReady(serializer, isRpc);
  }

  /** See `MessageMaker.prepare`. */
  prepare(call: SendCall): PreparedSend {
    return this.#maker.prepare(call);
  }

  async #getReady(serializer: string, isRpc: boolean): Promise<void> {
    await loadSerializer(serializer);
    const { world, name: service, oid: node } = this.#app;
    await startTracing(world, { service, node, unsampled: unsampledTrace });
    if (isRpc) await this.#app.backend.openToSend();
  }

  #resultOf(prepared: PreparedSend, name: string): AsyncResult {
    return new AsyncResult(prepared.taskId, this.#app, { ignored: prepared.ignored, name });
  }

  #callOf(item: SendManyItem): SendCall {
    if (item instanceof Signature) {
      return signatureCall(this.#app, item, NO_ARGS, NO_KWARGS, {});
    }
    const { task } = item;
    refuseUnknown(item, ITEM_NAMES, "a call of sendMany");
    if (item.options) {
      refuseUnknown(item.options, SEND_OPTION_NAMES, `task "${typeof task === "string" ? task : task.name}"`);
    }
    const args = item.args ?? NO_ARGS;
    const kwargs = item.kwargs ?? NO_KWARGS;
    if (typeof task === "string") {
      const options = optionsByName(this.#app.tasks.get(task), item.options ?? null);
      return { name: task, args, kwargs, options };
    }
    if (task.options.typing) task.checkArguments(args, kwargs);
    return { name: task.name, args, kwargs, options: callOptions(task, args, kwargs, item.options ?? null) };
  }

  /** Sends composites, and calls that run at once, which are not single messages; returns null for others. */
  #sentApart(item: SendManyItem): Promise<AsyncResult> | null {
    const isEager = this.#app.conf.task_always_eager;
    if (item instanceof Signature) {
      if (item.subtaskType === null && !isEager) return null;
      return item.applyAsync() as Promise<AsyncResult>;
    }
    if (!isEager || typeof item.task === "string") return null;
    return item.task.applyAsync(item.args, item.kwargs, item.options) as Promise<AsyncResult>;
  }

  /** Sends `afterTaskPublish` when a publish has succeeded. */
  #reportPublished(publishing: Promise<void>, batch: readonly PreparedSend[]): Promise<void> {
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
}
