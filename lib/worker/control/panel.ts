/**
 * The answering side of remote control: reads a request, runs the command, and sends the reply.
 *
 * Messages from outside are not trusted. One that is too long, of a refused content type, or not a request,
 * is logged in one line and dropped. If a handler throws, the reply is `{"error": …}`.
 *
 * Source: celery 5.2.6 worker/pidbox.py Pidbox; kombu 5.2.4 pidbox.py Node.handle_message, dispatch;
 * protocol.md 6.
 */

import { errorText, LogThrottle, shownLine } from "../../base/mod.ts";
import type { RemoteHandler } from "../../app/mod.ts";
import { isFor, REMOTE_ALIASES } from "../../mailbox/mod.ts";
import type { Note } from "../../transport/mod.ts";
import {
  decodeMailboxRequest,
  type EncodedMessage,
  encodeMailboxReply,
  exceptionRepr,
  type MailboxRequest,
  pythonRepr,
  toWireException,
} from "../../wire/mod.ts";
import { CONTROL_HANDLERS, NO_REPLY } from "./commands.ts";
import { PythonError } from "./error.ts";
import { INSPECT_HANDLERS, type PanelHandler } from "./inspect.ts";
import type { WorkerCore } from "../core.ts";

/** Commands under way at most; more are dropped and logged. */
const RUNNING_MAX = 100;
/**
 * Replies go only to exchanges with such a name: a request must not make the worker publish to, or declare,
 * any other.
 */
const REPLY_EXCHANGE = /^reply\..{1,200}\.pidbox$/;

/** Clocks from here on are ignored: they would leave ours no room to count. */
const CLOCK_MAX = 2 ** 52;

/** A reply to be published. */
export interface PanelReply {
  readonly exchange: string;
  readonly routingKey: string;
  readonly message: EncodedMessage;
}

/** Log lines about control messages in one period at most, and its length. */
const LINES_MAX = 20;
const LINES_PERIOD_MS = 10_000;

/** The panel of one worker. */
export class Panel {
  #worker: WorkerCore;
  #throttle: LogThrottle;
  #running = 0;
  #send: (reply: PanelReply) => Promise<void>;

  /** `send` publishes a reply; if it rejects, the error is logged here. */
  constructor(worker: WorkerCore, send: (reply: PanelReply) => Promise<void>) {
    this.#worker = worker;
    this.#throttle = new LogThrottle(worker.world, {
      everyMs: LINES_PERIOD_MS,
      lines: LINES_MAX,
      atEnd: { timers: worker.timers, about: "control messages" },
    });
    this.#send = send;
  }

  /** Handles a message of the control exchange. Never throws. */
  onNote({ message }: Note): void {
    const { world, app, parts, hostname } = this.#worker;
    let request: MailboxRequest;
    try {
      request = decodeMailboxRequest(message, parts.options.accept);
      // Clients' clocks are often at zero, so receiving a message is counted as an event of its own.
      app.clock.forward();
      if (request.clock !== null && isClock(request.clock)) app.clock.adjust(request.clock);
      if (!isFor(hostname, request)) return;
    } catch (error) {
      this.#complain(`Ignored a control message: ${shownLine(errorText(error), 1000)}`);
      return;
    }
    if (this.#running >= RUNNING_MAX) {
      this.#complain(
        `Ignored control command ${shownLine(request.method, 200)}: ${RUNNING_MAX} are under way`,
      );
      return;
    }
    if (world.log.isOn("DEBUG") && !this.#isOwnHello(request)) world.log.debug(receivedText(request));
    this.#running++;
    void this.#handle(request).finally(() => this.#running--);
  }

  /** Celery's worker asks its neighbours before it listens, so it does not log its own request. */
  #isOwnHello(request: MailboxRequest): boolean {
    return request.method === "hello" && request.arguments["from_node"] === this.#worker.hostname;
  }

  async #handle(request: MailboxRequest): Promise<void> {
    const reply = await this.dispatch(request.method, request.arguments);
    if (reply === NO_REPLY || request.replyTo === null) return;
    const { hostname, app } = this.#worker;
    const { exchange, routingKey } = request.replyTo;
    if (!REPLY_EXCHANGE.test(exchange) || routingKey === "") {
      this.#complain(
        `Cannot reply to ${shownLine(request.method, 200)}: ${
          shownLine(exchange, 200)
        } is not a reply exchange`,
      );
      return;
    }
    const bodyEncoding = this.#worker.consumer.connection?.transport === "amqp" ? "none" : "base64";
    const encoded = (value: unknown): EncodedMessage =>
      encodeMailboxReply(
        { hostname, reply: value, ticket: request.ticket, clock: app.clock.forward() },
        { serializer: this.#worker.support.mailbox.serializer, bodyEncoding },
      );
    try {
      let message: EncodedMessage;
      try {
        message = encoded(reply);
      } catch (error) {
        message = encoded({ error: this.#report(error) });
      }
      await this.#send({ exchange, routingKey, message });
    } catch (error) {
      this.#complain(
        `Cannot reply to ${shownLine(request.method, 200)}: ${shownLine(errorText(error), 1000)}`,
      );
    }
  }

  /**
   * Runs a command by its name or alias and resolves with the reply, `{ error }` if it failed. Never rejects.
   */
  async dispatch(method: string, args: Record<string, unknown>): Promise<unknown> {
    try {
      const handler = this.#find(method);
      if (handler === null) throw new PythonError("KeyError", method);
      return await handler(this.#worker, args);
    } catch (error) {
      return { error: this.#report(error) };
    }
  }

  #find(method: string): PanelHandler | null {
    const own = this.#worker.support.app.remoteCommands.get(method);
    if (own !== undefined) return users(own.run);
    const name = REMOTE_ALIASES.get(method) ?? method;
    if (Object.hasOwn(INSPECT_HANDLERS, name)) return INSPECT_HANDLERS[name]!;
    return Object.hasOwn(CONTROL_HANDLERS, name) ? CONTROL_HANDLERS[name]! : null;
  }

  /** Logs an error and returns its text for the reply. */
  #report(error: unknown): string {
    const text = exceptionRepr(
      error instanceof PythonError
        ? { excType: error.name, excModule: "builtins", args: [...error.args] }
        : toWireException(error, ""),
    );
    this.#complain(`pidbox command error: ${shownLine(text, 1000)}`);
    return text;
  }

  #complain(text: string): void {
    this.#throttle.log("ERROR", text);
  }
}

function users(run: RemoteHandler): PanelHandler {
  return (worker, args) => run({ app: worker.support.app, hostname: worker.hostname, worker }, args);
}

/** The log line of a request. Source: kombu 5.2.4 pidbox.py Node.dispatch. */
function receivedText({ method, arguments: args, replyTo, ticket }: MailboxRequest): string {
  const given = Object.entries(args).map(([name, value]) => `${shownLine(name, 200)}=${pythonRepr(value)}`)
    .join(", ");
  const to = replyTo === null
    ? "None"
    : pythonRepr({ exchange: replyTo.exchange, routing_key: replyTo.routingKey });
  return `pidbox received method ${shownLine(method, 200)}(${shownLine(given, 1000)}) ` +
    `[reply_to:${to} ticket:${ticket === null ? "None" : shownLine(ticket, 200)}]`;
}

/** Whether a clock is a whole number that leaves ours room to count. */
function isClock(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < CLOCK_MAX;
}
