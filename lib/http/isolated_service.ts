/**
 * Serves probes from an isolate of their own, for a process that runs user code in the isolate that would
 * answer: a task of the pool `solo` that loops blocks everything else in the main isolate.
 *
 * The other isolate owns the sockets (isolate_main.ts). It answers `/livez` itself as long as the process is
 * alive, and asks the main isolate for the rest.
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

/** A request passed to the main isolate. `target` is its path and query. */
export interface Ask {
  readonly id: number;
  readonly method: string;
  readonly target: string;
  readonly headers: readonly [string, string][];
}

/** The main isolate's answer to a request. */
export interface Answer {
  readonly id: number;
  readonly status: number;
  readonly headers: readonly [string, string][];
  readonly body: string;
}

/** Messages to the isolate; the first is the place to serve at. */
export type ToIsolate =
  | { readonly place: HttpPlace }
  | { readonly answer: Answer }
  | { readonly close: true };

/** Messages from the isolate; the first says that it serves, or why it cannot. */
export type FromIsolate =
  | { readonly port: number }
  | { readonly failure: string }
  | { readonly ask: Ask }
  | { readonly level: Level; readonly message: string; readonly context: LogContext | undefined }
  | { readonly closed: true };

/** The service as the main isolate sees it. */
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
      // An unhandled error would end the program.
      event.preventDefault();
      this.#fail(event.message);
    };
    this.#post({ place });
  }

  /**
   * Serves at a place, as `HttpService.open` does, and rejects with OperatingError. `handler` is called for
   * every path except `/livez`.
   */
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
    this.#post({ close: true });
    await this.#ended.promise;
    this.#isolate.terminate();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #post(message: ToIsolate): void {
    this.#isolate.postMessage(message);
  }

  #take(message: FromIsolate): void {
    if ("ask" in message) void this.#answer(message.ask);
    else if ("level" in message) this.#world.log.emit(message.level, message.message, message.context);
    else if ("port" in message) this.#opened.resolve(message.port);
    else if ("failure" in message) this.#fail(message.failure);
    else this.#ended.resolve();
  }

  /** Ends the service, because it could not be opened or the isolate has ended. */
  #fail(reason: string): void {
    this.#isolate.terminate();
    this.#ended.resolve();
    this.#opened.reject(new OperatingError(reason));
    // If it was not open yet, the caller of `open` gets the reason instead.
    if (this.#port !== 0) this.#world.log.error(`The HTTP server at ${this.url} has ended: ${reason}`);
  }

  async #answer({ id, method, target, headers }: Ask): Promise<void> {
    try {
      const request = new Request(`http://localhost${target}`, { method, headers: [...headers] });
      const response = await this.#handler(request, null);
      const body = await response.text();
      this.#post({ answer: { id, status: response.status, headers: [...response.headers], body } });
    } catch (error) {
      this.#world.log.error(`Cannot answer ${method} ${target}: ${errorText(error)}`);
      this.#post({ answer: { id, status: 500, headers: [], body: "Internal Server Error\n" } });
    }
  }
}
