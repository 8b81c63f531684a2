/**
 * The answering side of remote control: reads a request, does what it asks for, and gives the reply.
 *
 * What comes from outside is never trusted: a message that is too long, of a refused content type, or no request at
 * all, is one line in the log and gone; a handler that throws is a reply `{"error": …}`.
 *
 * Source: celery 5.2.6 worker/pidbox.py Pidbox; kombu 5.2.4 pidbox.py Node.handle_message, dispatch; protocol.md 6.
 */

import { errorText } from "../base/mod.ts";
import type { RemoteHandler } from "../app/mod.ts";
import { bodyTooLong, isFor, REMOTE_ALIASES } from "../mailbox/mod.ts";
import type { Note } from "../transport/mod.ts";
import {
  decodeMailboxRequest,
  type EncodedMessage,
  encodeMailboxReply,
  exceptionRepr,
  type MailboxRequest,
  pythonRepr,
  toWireException,
} from "../wire/mod.ts";
import { Complaints } from "./complaints.ts";
import { CONTROL_HANDLERS, NO_REPLY } from "./panel_control.ts";
import { PythonError } from "./panel_error.ts";
import { INSPECT_HANDLERS, type PanelHandler } from "./panel_inspect.ts";
import type { WorkController } from "./worker.ts";

/** Commands under way at most; more are dropped with a line in the log. */
const RUNNING_MAX = 100;
/** Replies go to exchanges of this form alone: a request must not publish elsewhere, or declare anew, by our hand. */
const REPLY_EXCHANGE = /^reply\..{1,200}\.pidbox$/;

/** Clocks from here on are somebody's joke. */
const CLOCK_MAX = 2 ** 52;

/** A reply on its way out. */
export interface PanelReply {
  readonly exchange: string;
  readonly routingKey: string;
  readonly message: EncodedMessage;
}

/** The panel of one worker. */
export class Panel {
  #worker: WorkController;
  #complaints: Complaints;
  #running = 0;
  #send: (reply: PanelReply) => Promise<void>;

  /** `send` publishes a reply; its errors are told here. */
  constructor(worker: WorkController, send: (reply: PanelReply) => Promise<void>) {
    this.#worker = worker;
    this.#complaints = new Complaints(worker.world, worker.timers, "control messages");
    this.#send = send;
  }

  /** Takes a message of the control exchange. Never throws. */
  onNote({ message }: Note): void {
    const { world, app, parts, hostname } = this.#worker;
    let request: MailboxRequest;
    try {
      if (bodyTooLong(message)) {
        this.#complain(`Ignored a control message of ${message.body.length} bytes: too long`);
        return;
      }
      request = decodeMailboxRequest(message, parts.options.accept);
      // Clients' clocks are often at zero: hearing counts as an event of its own.
      app.clock.forward();
      if (request.clock !== null && isClock(request.clock)) app.clock.adjust(request.clock);
      if (!isFor(hostname, request)) return;
    } catch (error) {
      this.#complain(`Ignored a control message: ${oneLine(errorText(error))}`);
      return;
    }
    if (this.#running >= RUNNING_MAX) {
      this.#complain(`Ignored control command ${shown(request.method)}: ${RUNNING_MAX} are under way`);
      return;
    }
    if (world.log.isOn("DEBUG") && !this.#isOwnHello(request)) world.log.debug(receivedText(request));
    this.#running++;
    void this.#handle(request).finally(() => this.#running--);
  }

  /** Celery's worker asks its neighbours before it listens, and so does not hear itself. */
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
        `Cannot reply to ${shown(request.method)}: ${shown(exchange)} is no exchange of replies`,
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
        message = encoded({ error: this.#told(error) });
      }
      await this.#send({ exchange, routingKey, message });
    } catch (error) {
      this.#complain(`Cannot reply to ${shown(request.method)}: ${oneLine(errorText(error))}`);
    }
  }

  /** Does a command by its name or alias; the reply, `{ error }` for one that failed. Never rejects. */
  async dispatch(method: string, args: Record<string, unknown>): Promise<unknown> {
    try {
      const handler = this.#find(method);
      if (handler === null) throw new PythonError("KeyError", method);
      return await handler(this.#worker, args);
    } catch (error) {
      return { error: this.#told(error) };
    }
  }

  #find(method: string): PanelHandler | null {
    const own = this.#worker.support.app.remoteCommands.get(method);
    if (own !== undefined) return users(own.run);
    const name = REMOTE_ALIASES.get(method) ?? method;
    if (Object.hasOwn(INSPECT_HANDLERS, name)) return INSPECT_HANDLERS[name]!;
    return Object.hasOwn(CONTROL_HANDLERS, name) ? CONTROL_HANDLERS[name]! : null;
  }

  /** The error's text for a reply, and its line in the log. */
  #told(error: unknown): string {
    const text = exceptionRepr(
      error instanceof PythonError
        ? { excType: error.name, excModule: "builtins", args: [...error.args] }
        : toWireException(error, ""),
    );
    this.#complain(`pidbox command error: ${oneLine(text)}`);
    return text;
  }

  #complain(text: string): void {
    this.#complaints.tell("ERROR", text);
  }
}

function users(run: RemoteHandler): PanelHandler {
  return (worker, args) => run({ app: worker.support.app, hostname: worker.hostname, worker }, args);
}

/** Source: kombu 5.2.4 pidbox.py Node.dispatch. */
function receivedText({ method, arguments: args, replyTo, ticket }: MailboxRequest): string {
  const given = Object.entries(args).map(([name, value]) => `${shown(name)}=${pythonRepr(value)}`).join(", ");
  const to = replyTo === null
    ? "None"
    : pythonRepr({ exchange: replyTo.exchange, routing_key: replyTo.routingKey });
  return `pidbox received method ${shown(method)}(${oneLine(given)}) ` +
    `[reply_to:${to} ticket:${ticket === null ? "None" : shown(ticket)}]`;
}

/** No clock that leaves ours no room to count on. */
function isClock(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < CLOCK_MAX;
}

function shown(text: string): string {
  return oneLine(text).slice(0, 200);
}

// What a stranger sent must not make lines of its own in the log.
function oneLine(text: string): string {
  const cut = text.length > 1000 ? `${text.slice(0, 1000)}...` : text;
  return cut.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, " ");
}
