/**
 * Rotating credentials: the options `credentials` and `password_command` of `broker_transport_options` and
 * `result_backend_transport_options`. They work in the same way for every server.
 *
 * Credentials are requested for each connection, when the server refuses them, and before they expire. The
 * expiry is `expires` in the function's result, else the claim `exp` if the password is a JSON Web Token,
 * else it follows from the option `credentials_lifetime`.
 *
 * Source: kombu main credential providers (#2476, #2563); redis-py 5 CredentialProvider; RFC 7519 4.1.4;
 * ElastiCache, Entra ID and RabbitMQ OAuth 2 on tokens of limited life.
 */

import {
  AccessRefused,
  type ChildProcess,
  type Clock,
  DialError,
  type Disarm,
  errorText,
  OperatingError,
  UsageError,
  type World,
} from "../base/mod.ts";
import { fromPlainJson } from "../wire/mod.ts";

/** User and password for a server. */
export interface Login {
  /** Null: the user in the URL. */
  readonly username: string | null;
  readonly password: string;
  /** When the login expires, wall-clock milliseconds; Infinity if unknown. */
  readonly expiresMs: number;
}

/** Renews the login of one open connection until it is stopped. */
export interface Renewal {
  /**
   * Renews at once, after the server has refused the login: requests credentials and applies them. Rejects as
   * `Credentials.ask` and `apply` do. Calls made meanwhile share one renewal.
   */
  now(): Promise<void>;
  /** Stops the renewal. Idempotent. */
  stop(): void;
}

/** The time limit of the function or the command. */
const ASK_TIMEOUT_MS = 10_000;
/** The maximum size of a password; tokens of cloud services have a few kilobytes. */
const PASSWORD_BYTES_MAX = 64 * 1024;
/**
 * A login is renewed this long before it expires, or in the last fifth of its remaining life if that is
 * shorter.
 */
const MARGIN_MS = 60_000;
const MARGIN_SHARE = 0.2;
/**
 * The delay after a renewal that failed, or whose login is about to expire. It doubles with each failure up
 * to the maximum.
 */
const RETRY_MS = 1000;
const RETRY_MAX_MS = 30_000;
/** The longest time for which a timer is armed. */
const TIMER_MAX_MS = 86_400_000;
/** A process opens its connections together, so they share one answer for this long. */
const RECENT_MS = 1000;
/**
 * After a refusal: the waits before credentials are requested again, if the first request gave nothing new.
 */
const REFUSED_WAITS_MS = [100, 200, 300, 400];

/**
 * One function or command that gives credentials. All connections of the process that use it share this
 * object: when they reconnect together after a change, to the broker and to the result store, they wait for
 * one answer instead of one after the other.
 */
interface Source {
  ask(signal: AbortSignal): Promise<Login>;
  /** The last login, and when it was given on the monotonic clock. */
  last: { readonly login: Login; readonly atMs: number } | null;
  /** The pending request; null if there is none. */
  asking: Promise<Login> | null;
}

/** Sources by function or command, then by lifetime. A program has few. */
const sources = new WeakMap<World, Map<unknown, Map<number, Source>>>();

function sourceOf(world: World, from: unknown, lifetimeMs: number, ask: Source["ask"]): Source {
  const ofWorld = sources.get(world) ?? new Map<unknown, Map<number, Source>>();
  sources.set(world, ofWorld);
  const byLifetime = ofWorld.get(from) ?? new Map<number, Source>();
  ofWorld.set(from, byLifetime);
  const source = byLifetime.get(lifetimeMs) ?? { ask, last: null, asking: null };
  byLifetime.set(lifetimeMs, source);
  return source;
}

/** Requests credentials and logs in with them. */
export class Credentials {
  #world: World;
  #setting: string;
  #source: Source;

  private constructor(world: World, setting: string, source: Source) {
    this.#world = world;
    this.#setting = setting;
    this.#source = source;
  }

  /**
   * Reads the options of a setting ("broker_transport_options"). Returns null if they name no credentials;
   * those of the URL are used then. Throws UsageError, which names the invalid option.
   */
  static of(
    world: World,
    setting: string,
    options: Readonly<Record<string, unknown>>,
  ): Credentials | null {
    const fn = options["credentials"] ?? null;
    const command = options["password_command"] ?? null;
    if (fn === null && command === null) return null;
    const wrong = (name: string, must: string) =>
      new UsageError(`Cannot use ${setting}["${name}"]: it must be ${must}`);
    if (fn !== null && command !== null) {
      throw new UsageError(`Cannot use both "credentials" and "password_command" of ${setting}: remove one`);
    }
    const lifetime = options["credentials_lifetime"] ?? null;
    if (lifetime !== null && !(typeof lifetime === "number" && lifetime > 0)) {
      throw wrong("credentials_lifetime", "a number of seconds above 0");
    }
    const lifetimeMs = lifetime === null ? Infinity : lifetime * 1000;
    if (fn !== null) {
      if (typeof fn !== "function") {
        throw wrong("credentials", "a function that returns { username, password }");
      }
      const source = sourceOf(world, fn, lifetimeMs, async (signal) => {
        const given = await Promise.race([(fn as () => unknown)(), aborted(signal)]);
        return readLogin(given, world.clock, lifetimeMs);
      });
      return new Credentials(world, setting, source);
    }
    if (typeof command !== "string" || !/[/\\]/.test(command)) {
      throw wrong("password_command", 'the path of one executable, such as "/etc/shop/broker-password"');
    }
    const source = sourceOf(world, command, lifetimeMs, async (signal) => {
      const password = await passwordFrom(world, command, signal);
      return { username: null, password, expiresMs: expiryOf(password, world.clock, lifetimeMs) };
    });
    return new Credentials(world, setting, source);
  }

  /**
   * Requests credentials once, for at most 10 s. Rejects with a retryable DialError, which gives the reason
   * but never the credentials, or with the signal's reason.
   */
  async ask(signal?: AbortSignal): Promise<Login> {
    const { clock } = this.#world;
    const over = new AbortController();
    const onAbort = () => over.abort(signal!.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", onAbort, { once: true });
    const late = new OperatingError(`no answer in ${ASK_TIMEOUT_MS / 1000} s`);
    const disarm = clock.arm(clock.monoMs() + ASK_TIMEOUT_MS, () => over.abort(late));
    let asking: Promise<Login> | null = null;
    try {
      asking = this.#source.asking = this.#source.ask(over.signal);
      const login = await asking;
      this.#source.last = { login, atMs: clock.monoMs() };
      return login;
    } catch (error) {
      signal?.throwIfAborted();
      throw new DialError(`Cannot get the credentials of ${this.#setting}: ${errorText(error)}`, {
        cause: error,
        isRetryable: true,
      });
    } finally {
      if (this.#source.asking === asking) this.#source.asking = null;
      disarm();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Waits for the request of another connection if one is pending; else, or if that fails, the same as `ask`.
   */
  async #together(signal: AbortSignal | undefined): Promise<Login> {
    const { asking } = this.#source;
    if (asking === null) return await this.ask(signal);
    const login = await (signal ? Promise.race([asking, aborted(signal)]) : asking).catch(() => null);
    signal?.throwIfAborted();
    return login ?? await this.ask(signal);
  }

  /**
   * Requests credentials, unless another connection did so in the last second, and calls `attempt` to log in.
   * If that is refused (AccessRefused), requests them again, at once and then within a second: a password may
   * have changed between the request and the login, or may reach the server later than this process. Rejects
   * with the last refusal, or as `ask` and `attempt` do.
   */
  async logIn<T>(attempt: (login: Login) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { last } = this.#source;
    const isRecent = last !== null && this.#world.clock.monoMs() - last.atMs < RECENT_MS;
    let login = isRecent ? last.login : await this.#together(signal);
    for (const waitMs of REFUSED_WAITS_MS) {
      try {
        return await attempt(login);
      } catch (error) {
        if (!(error instanceof AccessRefused)) throw error;
        // Another connection may have received newer credentials meanwhile.
        const newest = this.#source.last?.login ?? login;
        let fresh = newest === login ? await this.#together(signal) : newest;
        if (fresh.password === login.password && fresh.username === login.username) {
          await this.#world.clock.sleep(waitMs, signal);
          fresh = await this.ask(signal);
        }
        login = fresh;
      }
    }
    return await attempt(login);
  }

  /**
   * Renews a login each time before it expires, and passes the new one to `apply`, which logs in again on the
   * open connection. Goes on until it is stopped. Failures are retried; the first one is logged.
   */
  keepFresh(login: Login, apply: (login: Login) => Promise<void>): Renewal {
    return new Renewing(this.#world, { ask: (signal) => this.ask(signal), apply }, login);
  }
}

/** The renewal of one login. */
class Renewing implements Renewal {
  #world: World;
  #parts: { ask(signal: AbortSignal): Promise<Login>; apply(login: Login): Promise<void> };
  #login: Login;
  #renewing: Promise<void> | null = null;
  #disarm: Disarm | null = null;
  #stopped = new AbortController();
  #failures = 0;

  constructor(
    world: World,
    parts: { ask(signal: AbortSignal): Promise<Login>; apply(login: Login): Promise<void> },
    login: Login,
  ) {
    this.#world = world;
    this.#parts = parts;
    this.#login = login;
    this.#plan(0);
  }

  now(): Promise<void> {
    this.#disarm?.();
    return this.#renewing ??= this.#renew().finally(() => this.#renewing = null);
  }

  stop(): void {
    this.#stopped.abort(new OperatingError("The connection is closed"));
    this.#disarm?.();
    this.#disarm = null;
  }

  #plan(leastMs: number): void {
    const leftMs = this.#login.expiresMs - this.#world.clock.wallMs();
    if (leftMs === Infinity) return;
    const waitMs = Math.max(leastMs, leftMs - Math.min(MARGIN_MS, leftMs * MARGIN_SHARE));
    // The wall clock may be changed meanwhile, and timers have a limit: plan again after a day.
    if (waitMs > TIMER_MAX_MS) this.#arm(TIMER_MAX_MS, () => this.#plan(0));
    else this.#armRenewal(waitMs);
  }

  #arm(ms: number, fn: () => void): void {
    const { clock } = this.#world;
    this.#disarm = clock.arm(clock.monoMs() + ms, fn);
  }

  #armRenewal(ms: number): void {
    this.#arm(ms, () =>
      this.now().catch(() => {
        // `#renew` has logged it and armed the next attempt.
      }));
  }

  async #renew(): Promise<void> {
    const { signal } = this.#stopped;
    try {
      const login = await this.#parts.ask(signal);
      signal.throwIfAborted();
      if (!isSame(login, this.#login)) await this.#parts.apply(login);
      signal.throwIfAborted();
      if (this.#failures > 0) this.#world.log.info("The credentials are renewed");
      this.#failures = 0;
      this.#login = login;
      this.#plan(RETRY_MS);
    } catch (error) {
      signal.throwIfAborted();
      const delayMs = Math.min(RETRY_MS * 2 ** this.#failures, RETRY_MAX_MS);
      if (this.#failures++ === 0) {
        this.#world.log.warning(`Cannot renew the credentials, trying again: ${errorText(error)}`);
      }
      this.#armRenewal(delayMs);
      throw error;
    }
  }
}

/** Returns a promise that rejects with the signal's reason when it aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function isSame(a: Login, b: Login): boolean {
  return a.password === b.password && a.username === b.username && a.expiresMs === b.expiresMs;
}

/** Reads the result of a `credentials` function. Throws OperatingError if it is invalid. */
function readLogin(given: unknown, clock: Clock, lifetimeMs: number): Login {
  const { username = null, password, expires = null } = (given ?? {}) as Record<string, unknown>;
  if (typeof password !== "string" || (username !== null && typeof username !== "string")) {
    throw new OperatingError("the function must return { username, password }, both strings");
  }
  if (expires === null) return { username, password, expiresMs: expiryOf(password, clock, lifetimeMs) };
  const expiresMs = expires instanceof Date
    ? expires.getTime()
    : typeof expires === "number"
    ? clock.wallMs() + expires * 1000
    : NaN;
  if (Number.isNaN(expiresMs)) {
    throw new OperatingError('"expires" must be a Date, or the number of seconds from now');
  }
  return { username, password, expiresMs };
}

/** Returns when a password expires: the token's own time, else now plus `lifetimeMs`. */
function expiryOf(password: string, clock: Clock, lifetimeMs: number): number {
  const claims = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(password)?.[1];
  if (claims !== undefined) {
    try {
      const bytes = Uint8Array.fromBase64(claims, { alphabet: "base64url" });
      const { exp } = fromPlainJson(new TextDecoder().decode(bytes)) as { exp?: unknown };
      if (typeof exp === "number") return exp * 1000;
    } catch {
      // It only looks like a token.
    }
  }
  return clock.wallMs() + lifetimeMs;
}

/**
 * Returns the first line that a program writes. Rejects with the reason of a failure; the text never contains
 * the output.
 */
async function passwordFrom(world: World, command: string, signal: AbortSignal): Promise<string> {
  let child: ChildProcess;
  try {
    child = world.spawner.spawn(command, { args: [], stdout: "piped", ownGroup: true, diesWithParent: true });
  } catch (error) {
    throw new OperatingError(`cannot start "${command}" (${errorText(error)}); ${ONE_PATH}`);
  }
  const output = child.stdout!.getReader();
  const kill = () => {
    child.kill("SIGKILL");
    // A process that it started may have left its group and still hold the pipe.
    output.cancel().catch(() => {});
  };
  signal.addEventListener("abort", kill, { once: true });
  try {
    const line = await firstLine(output, kill);
    const { code, signal: ender } = await child.ended;
    signal.throwIfAborted();
    if (line === null) throw new OperatingError(`"${command}" wrote more than ${PASSWORD_BYTES_MAX} bytes`);
    if (ender !== null) throw new OperatingError(`"${command}" was ended by ${ender}`);
    // setpriv, which ties the child to this process, ends with 126 or 127 if it cannot run the program.
    if (code === 126 || code === 127) throw new OperatingError(`cannot run "${command}"; ${ONE_PATH}`);
    if (code !== 0) {
      throw new OperatingError(`"${command}" ended with status ${code}; run it by hand to see why`);
    }
    if (line === "") throw new OperatingError(`the first line that "${command}" wrote is empty`);
    return line;
  } finally {
    signal.removeEventListener("abort", kill);
    child.release?.();
  }
}

const ONE_PATH = "it must be the path of one executable, without arguments";

/**
 * Reads to the end and returns the first line. If there are too many bytes, kills the writer and returns
 * null.
 */
async function firstLine(
  output: ReadableStreamDefaultReader<Uint8Array>,
  kill: () => void,
): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (let chunk; (chunk = (await output.read()).value) !== undefined;) {
    bytes += chunk.length;
    if (bytes > PASSWORD_BYTES_MAX) {
      kill();
      return null;
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text.split("\n", 1)[0]!.replace(/\r$/, "");
}
