/** An HTTP server at one place: TCP, TLS whose files may be renewed while it runs, or a unix socket. */

import {
  type Disarm,
  errorText,
  type HttpAddress,
  type HttpHandler,
  type HttpServer,
  OperatingError,
  UsageError,
  type World,
} from "../base/mod.ts";
import { EXIT, readFile, removeSocket } from "../platform/mod.ts";
import { compressed } from "./compression.ts";
import { type HttpPlace, placeUrl } from "./place.ts";

/** Milliseconds between two checks of the TLS files. */
const TLS_LOOK_MS = 10_000;

interface Pem {
  readonly cert: string;
  readonly key: string;
}

/** A running server. */
export interface Serving extends AsyncDisposable {
  /** The address as a person opens it. */
  readonly url: string;
  /** The port it listens at; 0 for a unix socket. */
  readonly port: number;
  /** Stops listening; resolves when every open request is answered. */
  close(): Promise<void>;
}

/** A server in this isolate. */
export class HttpService implements Serving {
  readonly #world: World;
  readonly #place: HttpPlace;
  readonly #handler: HttpHandler;
  #server: HttpServer | null = null;
  #pem: Pem | null = null;
  #disarm: Disarm | null = null;

  private constructor(world: World, place: HttpPlace, handler: HttpHandler) {
    this.#world = world;
    this.#place = place;
    this.#handler = async (request, peer) =>
      refused(request) ?? await compressed(request, await handler(request, peer));
  }

  /**
   * Serves at a place. Rejects with OperatingError that names the place: in use, not permitted; with
   * UsageError if certificates cannot be read or a unix socket cannot be made. A socket of a process that is
   * gone is replaced.
   */
  static async open(world: World, place: HttpPlace, handler: HttpHandler): Promise<HttpService> {
    const service = new HttpService(world, place, handler);
    if (place.kind === "unix" && !await isAnswered(world, place.path)) removeSocket(place.path);
    service.#pem = place.kind === "tcp" && place.tls !== null ? readPem(place.tls) : null;
    try {
      service.#server = world.listener.serve(service.#address(service.#pem), service.#handler);
    } catch (error) {
      const why = errorText(error);
      const text = `Cannot serve at ${placeUrl(place, portOfPlace(place))}: ${why}`;
      if (place.kind === "unix") throw new UsageError(text, { cause: error, exitCode: EXIT.CANNOT_CREATE });
      throw new OperatingError(text, { cause: error });
    }
    if (service.#pem !== null) service.#watch();
    return service;
  }

  get url(): string {
    return placeUrl(this.#place, this.port);
  }

  get port(): number {
    return this.#server?.port ?? 0;
  }

  async close(): Promise<void> {
    this.#disarm?.();
    this.#disarm = null;
    await this.#server?.close();
    if (this.#place.kind === "unix") removeSocket(this.#place.path);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #address(pem: Pem | null, port = portOfPlace(this.#place)): HttpAddress {
    return this.#place.kind === "unix" ? this.#place : { ...this.#place, port, tls: pem };
  }

  #watch(): void {
    const { clock } = this.#world;
    this.#disarm = clock.arm(clock.monoMs() + TLS_LOOK_MS, () => {
      this.#renew();
      this.#watch();
    });
  }

  /**
   * Serves with new TLS files, if they have changed and are valid. Open connections continue with the old
   * ones.
   */
  #renew(): void {
    const { log, listener } = this.#world;
    const { tls } = this.#place as Extract<HttpPlace, { kind: "tcp" }>;
    try {
      const pem = readPem(tls!);
      if (pem.cert === this.#pem!.cert && pem.key === this.#pem!.key) return;
      const old = this.#server!;
      const address = this.#address(pem, old.port) as Extract<HttpAddress, { kind: "tcp" }>;
      this.#server = listener.serve({ ...address, isRenewal: true }, this.#handler);
      void old.close();
      this.#pem = pem;
      log.info("New certificate in use.");
    } catch (error) {
      log.warning(`Cannot use the changed certificate, the old one stays: ${errorText(error)}`);
    }
  }
}

/**
 * Answers requests that no handler can read: an invalid URL, a method for which the runtime makes no request.
 */
function refused({ method, url }: Request): Response | null {
  if (/^(?:TRACE|TRACK|CONNECT)$/i.test(method)) return new Response("Method Not Allowed\n", { status: 405 });
  return URL.canParse(url) ? null : new Response("Bad Request\n", { status: 400 });
}

function portOfPlace(place: HttpPlace): number {
  return place.kind === "tcp" ? place.port : 0;
}

function readPem({ cert, key }: { cert: string; key: string }): Pem {
  const read = (path: string) => {
    const text = readFile(path);
    if (text === null) throw new UsageError(`Cannot read "${path}": there is no such file`);
    return text;
  };
  return { cert: read(cert), key: read(key) };
}

async function isAnswered(world: World, path: string): Promise<boolean> {
  try {
    (await world.dialer.dial({ kind: "unix", path }, { timeoutMs: 1000 })).close();
    return true;
  } catch {
    // Nobody listens there: that is the question.
    return false;
  }
}
