/**
 * Serving probes from an isolate of their own, for a process that runs its users' code where it would answer requests:
 * a task of the pool `solo` that loops keeps the main isolate from everything else.
 *
 * That isolate has the sockets (isolate_main.ts). It answers `/livez` by itself, as long as the process lives, and asks
 * the main isolate for the rest.
 */

import {
  errorText,
  type HttpHandler,
  type Level,
  type LogContext,
  OperatingError,
  type World,
} from "../base/mod.ts";
import { moduleUrl } from "../platform/mod.ts";
import { type HttpPlace, placeUrl } from "./place.ts";
import type { Serving } from "./service.ts";

/** A request that the main isolate is asked about. `target` is its path and query. */
export interface Ask {
  readonly id: number;
  readonly method: string;
  readonly target: string;
  readonly headers: readonly [string, string][];
}

/** The answer to one. */
export interface Answer {
  readonly id: number;
  readonly status: number;
  readonly headers: readonly [string, string][];
  readonly body: string;
}

/** What the isolate is told: first where to serve. */
export type ToIsolate =
  | { readonly place: HttpPlace }
  | { readonly answer: Answer }
  | { readonly close: true };

/** What it says: first that it serves, or why it cannot. */
export type FromIsolate =
  | { readonly port: number }
  | { readonly failure: string }
  | { readonly ask: Ask }
  | { readonly level: Level; readonly message: string; readonly context: LogContext | undefined }
  | { readonly closed: true };

/** What serves, seen from the main isolate. */
export class IsolatedService implements Serving {
  readonly #world: World;
  readonly #place: HttpPlace;
  readonly #handler: HttpHandler;
  readonly #isolate: Worker;
  readonly #opened = Promise.withResolvers<number>();
  readonly #ended = Promise.withResolvers<void>();
  #port = 0;

  private constructor(world: World, place: HttpPlace, handler: HttpHandler) {
    this.#world = world;
    this.#place = place;
    this.#handler = handler;
    const entry = moduleUrl("http_isolate.js", "http/isolate_main.ts");
    this.#isolate = new Worker(entry, { type: "module", name: "http" });
    this.#isolate.onmessage = ({ data }: MessageEvent<FromIsolate>) => this.#take(data);
    this.#isolate.onerror = (event) => {
      // Unhandled it would end the program.
      event.preventDefault();
      this.#fail(event.message);
    };
    this.#say({ place });
  }

  /** Serves at a place, as `HttpService.open` does. `handler` is asked for every path but `/livez`. */
  static async open(world: World, place: HttpPlace, handler: HttpHandler): Promise<IsolatedService> {
    const service = new IsolatedService(world, place, handler);
    service.#port = await service.#opened.promise;
    return service;
  }

  get url(): string {
    return placeUrl(this.#place, this.port);
  }

  get port(): number {
    return this.#port;
  }

  async close(): Promise<void> {
    this.#say({ close: true });
    await this.#ended.promise;
    this.#isolate.terminate();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #say(message: ToIsolate): void {
    this.#isolate.postMessage(message);
  }

  #take(message: FromIsolate): void {
    if ("ask" in message) void this.#answer(message.ask);
    else if ("level" in message) this.#world.log.emit(message.level, message.message, message.context);
    else if ("port" in message) this.#opened.resolve(message.port);
    else if ("failure" in message) this.#fail(message.failure);
    else this.#ended.resolve();
  }

  /** It could not be opened, or the isolate ended: what it served is served no more. */
  #fail(reason: string): void {
    this.#isolate.terminate();
    this.#ended.resolve();
    this.#opened.reject(new OperatingError(reason));
    // Unless it was to be opened, in which case whoever opens it hears the reason.
    if (this.#port !== 0) this.#world.log.error(`Nothing is served at ${this.url} any more: ${reason}`);
  }

  async #answer({ id, method, target, headers }: Ask): Promise<void> {
    try {
      const request = new Request(`http://localhost${target}`, { method, headers: [...headers] });
      const response = await this.#handler(request, null);
      const body = await response.text();
      this.#say({ answer: { id, status: response.status, headers: [...response.headers], body } });
    } catch (error) {
      this.#world.log.error(`Cannot answer ${method} ${target}: ${errorText(error)}`);
      this.#say({ answer: { id, status: 500, headers: [], body: "Internal Server Error\n" } });
    }
  }
}
