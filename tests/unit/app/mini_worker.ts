/**
 * A worker in the least possible: messages that an app publishes wait in a list and are run by a Tracer, their results
 * stored and their chords counted.
 */

import { type World } from "../../../lib/base/mod.ts";
import {
  App,
  completeChords,
  type Outcome,
  type OutcomeChord,
  type SendOptions,
  type Settings,
  type TaskRequest,
  Tracer,
} from "../../../lib/app/mod.ts";
import type { OutgoingMessage } from "../../../lib/transport/mod.ts";
import {
  decodePayload,
  type EncodedMessage,
  type ResultMeta,
  type WireSignature,
} from "../../../lib/wire/mod.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

/** A message as the tests read it. */
export interface Sent {
  readonly outgoing: OutgoingMessage;
  readonly headers: Record<string, unknown>;
  readonly args: unknown[];
  readonly kwargs: Record<string, unknown>;
  readonly embed: Record<string, WireSignature[] & WireSignature>;
}

export class MiniWorker implements AsyncDisposable {
  readonly app: App;
  readonly waiting: OutgoingMessage[] = [];
  readonly sent: Sent[] = [];
  readonly states: [string, string][] = [];
  readonly events: [string, Record<string, unknown>][] = [];
  readonly lines: string[] = [];
  readonly tracer: Tracer;
  #seq = 0;

  constructor(
    settings: Partial<Settings> = {},
    define: (app: App) => void = () => {},
    world: World = realTestWorld(),
  ) {
    this.app = new App("unit", { broker_url: "memory://", result_backend: "memory://", ...settings }, {
      world,
    });
    this.app.publisher = {
      publish: (batch) => {
        for (const outgoing of batch) {
          this.waiting.push(outgoing);
          this.sent.push(readSent(outgoing));
        }
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    };
    define(this.app);
    this.tracer = new Tracer(this.app, {
      onState: (_seq, state, document) => void this.states.push([state, String(document)]),
      onEvent: (_seq, type, fields) => void this.events.push([type, fields]),
      log: (level, message) => void this.lines.push(`${level} ${message}`),
    });
  }

  /** The message of a call, made and taken back. */
  async message(
    name: string,
    args: unknown[] = [],
    kwargs: Record<string, unknown> = {},
    options: SendOptions = {},
  ) {
    await this.app.send(name, args, kwargs, options);
    return this.waiting.pop()!.message;
  }

  /** Runs a message; `envelope`: that it came in. */
  run(message: EncodedMessage, seq = ++this.#seq, envelope?: string): Outcome | Promise<Outcome> {
    return this.tracer.run({
      seq,
      message,
      ...(envelope === undefined ? {} : { source: { envelope } }),
      info: { exchange: "", routingKey: "celery", redelivered: false },
      hostname: "w@unit",
      timeLimit: null,
      softTimeLimit: null,
    });
  }

  /** Sends a call and runs it. */
  async call(
    name: string,
    args: unknown[] = [],
    kwargs: Record<string, unknown> = {},
    options: SendOptions = {},
  ) {
    return await this.run(await this.message(name, args, kwargs, options));
  }

  /** Runs everything that waits, and what that sends, in order; at most 1000 messages. */
  async drain(): Promise<void> {
    const backend = await this.app.openBackend();
    for (let n = 0; n < 1000; n++) {
      const next = this.waiting.shift();
      if (!next) return;
      const headers = next.message.headers;
      const outcome = await this.run(next.message);
      const all: {
        taskId: string;
        state: string | null;
        document: string | Uint8Array | null;
        chord: OutcomeChord | null;
      }[] = [
        { taskId: String(headers["id"]), ...pick(outcome) },
        ...(outcome.also ?? []),
      ];
      for (const { taskId, state, document, chord } of all) {
        if (state !== null && document !== null) {
          backend.store({ taskId, state, document, guard: true, replyTo: null }, null);
        }
        if (chord && outcome.kind !== "retry") {
          await backend.flush();
          await completeChords(this.app, backend, [{
            taskId,
            rootId: headers["root_id"] as string,
            state: outcome.kind === "success" ? "SUCCESS" : "FAILURE",
            chord,
            message: next.message,
          }]);
        }
      }
      await backend.flush();
    }
    throw new Error("messages without end");
  }

  /** What is stored of a task. */
  async stored(id: string): Promise<ResultMeta | null> {
    return await (await this.app.openBackend()).fetch(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app.close();
  }
}

function pick({ state, document, chord }: Outcome) {
  return { state, document, chord };
}

function readSent(outgoing: OutgoingMessage): Sent {
  const { message } = outgoing;
  const body = decodePayload(message, new Set([message.contentType])) as [
    unknown[],
    Record<string, unknown>,
    Sent["embed"],
  ];
  return { outgoing, headers: message.headers, args: body[0], kwargs: body[1], embed: body[2] };
}

/** A document of an outcome, parsed. */
export function documentOf(outcome: Outcome): Record<string, unknown> {
  return JSON.parse(String(outcome.document));
}

export type { Outcome, TaskRequest };
