/**
 * Identifies who sends a request, and what they may do.
 *
 * If no way to log in is configured, everybody may do everything: that is meant for loopback, or for
 * `--no-auth`. Otherwise a user is identified by a session cookie, by user and password (basic), by a token
 * (bearer), or by a header that a trusted proxy sets. `--read-only` limits everybody to reading.
 */

import { isRecord, nearest, UsageError, type World } from "../../base/mod.ts";
import { fromJson, toJson } from "../../wire/mod.ts";
import type { Shape } from "../shapes.ts";
import { Networks } from "./networks.ts";
import { isHashed, isPassword, isSame, randomText, readBasic, sha256, Signer } from "./secrets.ts";

/** What a user may do; each scope includes those before it. */
export type Scope = Shape<"Scope">;
const SCOPES = ["read", "operate", "admin"] as const satisfies readonly Scope[];

/** An identified user. */
export interface Identity {
  /** Null if no login is needed. */
  readonly user: string | null;
  readonly scope: Scope;
}

/** Ways to log in. */
export interface AccessOptions {
  /** Each is `user:password`, or `user:` and a hash. */
  readonly basic: readonly string[];
  /** Each is a token, or `read:`, `operate:` or `admin:` and a token. */
  readonly tokens: readonly string[];
  /** The header in which a trusted proxy names the user; null: none. */
  readonly proxyHeader: string | null;
  /** Networks of trusted proxies. */
  readonly trustedProxies: readonly string[];
  readonly hasOidc: boolean;
  readonly isReadOnly: boolean;
  /** The key that signs cookies; null: a random key, so that a restart logs everybody out. */
  readonly cookieSecret: string | null;
  /** The path of cookies: the URL prefix. */
  readonly prefix: string;
}

/** The cookie of a session. */
export const SESSION_COOKIE = "lovage_session";
/** Shown for a token with a misspelt scope. */
const SCOPE_ADVICE = `Scopes are ${
  SCOPES.join(", ")
}; write admin: before a token that itself begins with such a word`;
const SESSION_SECONDS = 12 * 3600;
/** Correct passwords remembered, so that not every request takes the 100 ms of hashing. */
const REMEMBERED_MAX = 100;

/** Identifies users by the configured ways to log in. */
export class Access {
  readonly #world: World;
  readonly #options: AccessOptions;
  readonly #users = new Map<string, string>();
  /** Scopes of tokens, by the tokens' SHA-256. */
  readonly #tokens = new Map<string, Scope>();
  readonly #proxies: Networks;
  readonly #remembered = new Set<string>();
  readonly #salt = randomText();
  readonly signer: Signer;

  /** Throws UsageError for an invalid option. */
  constructor(world: World, options: AccessOptions) {
    this.#world = world;
    this.#options = options;
    this.signer = new Signer(options.cookieSecret ?? randomText());
    this.#proxies = new Networks(options.trustedProxies);
    for (const one of options.basic) {
      const colon = one.indexOf(":");
      if (colon < 1 || colon === one.length - 1) {
        throw new UsageError(
          "Cannot use --basic-auth: it takes user:password, or user: and what --hash-password prints",
        );
      }
      this.#users.set(one.slice(0, colon), one.slice(colon + 1));
    }
    for (const one of options.tokens) {
      const [, scope, token] = /^(?:(read|operate|admin):)?(.+)$/.exec(one) ?? [];
      if (token === undefined) throw new UsageError("Cannot use --token: it is empty");
      const word = /^(\w+):/.exec(token)?.[1] ?? "";
      const near = scope === undefined ? nearest(word, SCOPES) : null;
      // The word is not shown, since it may be part of the token.
      if (near !== null) throw new UsageError(`Cannot use --token: did you mean "${near}:"? ${SCOPE_ADVICE}`);
      this.#tokens.set(sha256(token), (scope ?? "admin") as Scope);
    }
  }

  /** False if no login is needed. */
  get isNeeded(): boolean {
    const { proxyHeader, hasOidc } = this.#options;
    return this.#users.size > 0 || this.#tokens.size > 0 || proxyHeader !== null || hasOidc;
  }

  /** Ways to log in that the login page offers. */
  get logins(): Shape<"Session">["logins"] {
    return [
      ...this.#users.size > 0 ? ["basic" as const] : [],
      ...this.#tokens.size > 0 ? ["token" as const] : [],
      ...this.#options.hasOidc ? ["oidc" as const] : [],
    ];
  }

  /** True if HTTP basic authentication is configured. */
  get hasBasic(): boolean {
    return this.#users.size > 0;
  }

  get isReadOnly(): boolean {
    return this.#options.isReadOnly;
  }

  /** Returns who sent a request from the address `peer`; null if not identified. */
  async identify(request: Request, peer: string | null): Promise<Identity | null> {
    if (!this.isNeeded) return this.#capped({ user: null, scope: "admin" });
    const found = this.#byProxy(request, peer) ?? await this.#byHeader(request) ?? this.#byCookie(request);
    return found === null ? null : this.#capped(found);
  }

  /** Returns the identity of a user and password; null if they are wrong. */
  async byPassword(user: string, password: string): Promise<Identity | null> {
    const known = this.#users.get(user);
    const key = sha256(`${this.#salt} ${user} ${password}`);
    if (this.#remembered.has(key)) return { user, scope: "admin" };
    // An unknown user takes as long as a known one.
    const hashed = known ?? [...this.#users.values()].find(isHashed) ?? "-";
    const isRight = await isPassword(password, hashed) && known !== undefined;
    if (!isRight) return null;
    if (this.#remembered.size < REMEMBERED_MAX) this.#remembered.add(key);
    return { user, scope: "admin" };
  }

  /** Returns the identity of a token; null if there is no such token. */
  byToken(token: string): Identity | null {
    const wanted = sha256(token);
    for (const [hash, scope] of this.#tokens) {
      if (isSame(hash, wanted)) return { user: `token:${hash.slice(0, 6)}`, scope };
    }
    return null;
  }

  /** Returns the `Set-Cookie` that starts a session. */
  cookieFor({ user, scope }: Identity, isSecure: boolean): string {
    const until = Math.floor(this.#world.clock.wallMs() / 1000) + SESSION_SECONDS;
    const value = this.signer.sign("session", toJson({ user, scope, until }));
    return this.cookie(SESSION_COOKIE, value, { seconds: SESSION_SECONDS, isSecure });
  }

  /** Returns the `Set-Cookie` of one of the console's cookies; `seconds` 0 deletes it. */
  cookie(name: string, value: string, { seconds, isSecure }: { seconds: number; isSecure: boolean }): string {
    const path = this.#options.prefix || "/";
    return `${name}=${value}; Path=${path}; Max-Age=${seconds}; HttpOnly; SameSite=Lax${
      isSecure ? "; Secure" : ""
    }`;
  }

  /** Returns true if the peer is a trusted proxy, or connects through the unix socket (null). */
  isTrusted(peer: string | null): boolean {
    return peer === null || this.#proxies.has(peer);
  }

  /** Limits an identity's scope if the console is read-only. */
  #capped({ user, scope }: Identity): Identity {
    return { user, scope: this.#options.isReadOnly ? "read" : scope };
  }

  #byProxy(request: Request, peer: string | null): Identity | null {
    const { proxyHeader } = this.#options;
    if (proxyHeader === null || !this.isTrusted(peer)) return null;
    const user = request.headers.get(proxyHeader)?.trim();
    return user ? { user, scope: "admin" } : null;
  }

  async #byHeader(request: Request): Promise<Identity | null> {
    const [, kind, value = ""] = /^(\w+) +(\S+)$/.exec(request.headers.get("authorization") ?? "") ?? [];
    if (kind?.toLowerCase() === "bearer") return this.byToken(value);
    if (kind?.toLowerCase() !== "basic") return null;
    const text = readBasic(value);
    const colon = text?.indexOf(":") ?? -1;
    return text === null || colon < 0
      ? null
      : await this.byPassword(text.slice(0, colon), text.slice(colon + 1));
  }

  #byCookie(request: Request): Identity | null {
    const signed = cookieOf(request, SESSION_COOKIE);
    const text = signed === null ? null : this.signer.read("session", signed);
    if (text === null) return null;
    const session = fromJson(text);
    if (!isRecord(session) || Number(session["until"]) * 1000 < this.#world.clock.wallMs()) return null;
    return { user: String(session["user"]), scope: session["scope"] as Scope };
  }
}

/** Returns true if the scope `has` includes the scope `needs`. */
export function allows(has: Scope, needs: Scope): boolean {
  return SCOPES.indexOf(has) >= SCOPES.indexOf(needs);
}

/** Returns the value of a request's cookie; null if there is none. */
export function cookieOf(request: Request, name: string): string | null {
  for (const part of (request.headers.get("cookie") ?? "").split(";")) {
    const equals = part.indexOf("=");
    if (equals > 0 && part.slice(0, equals).trim() === name) return part.slice(equals + 1).trim();
  }
  return null;
}
