/**
 * Login through an OpenID Connect issuer: the code flow with PKCE. The values that must match in the callback
 * are kept in a signed cookie, so the server keeps no state.
 */

import type * as oauth from "oauth4webapi";
import { errorText, isRecord, OperatingError, type World } from "../../base/mod.ts";
import { fromJson, toJson } from "../../wire/mod.ts";
import { type Access, cookieOf, type Identity } from "./access.ts";

/** An issuer, and which of its users may log in. */
export interface OidcOptions {
  /** `https://accounts.example.org`; http only for loopback. */
  readonly issuer: string;
  readonly clientId: string;
  /** Null for a public client. */
  readonly clientSecret: string | null;
  /** Null: `/login/oidc/callback` at the address that the browser used. */
  readonly redirectUri: string | null;
  /**
   * Who may log in: e-mail addresses, where `.*` matches anything and `|` separates alternatives, as in
   * Flower's
   * --auth. Null: everybody.
   */
  readonly allowed: string | null;
}

const COOKIE = "lovage_oidc";
const FLOW_SECONDS = 600;
const SCOPES = "openid email profile";

interface Flow {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  readonly redirectUri: string;
  readonly next: string;
}

/** The login at one issuer. */
export class Oidc {
  readonly #world: World;
  readonly #options: OidcOptions;
  readonly #access: Access;
  #server: Promise<oauth.AuthorizationServer> | null = null;

  constructor(world: World, options: OidcOptions, access: Access) {
    this.#world = world;
    this.#options = options;
    this.#access = access;
  }

  /** The issuer's host, as the login button shows it. */
  get name(): string {
    return new URL(this.#options.issuer).host;
  }

  /**
   * Redirects the browser to the issuer. `here` is the console's own URL, `next` the path to return to.
   * Rejects with OperatingError if the issuer cannot be reached.
   */
  async begin(here: string, next: string, isSecure: boolean): Promise<Response> {
    const oauth = await library();
    const server = await this.#discover();
    const flow: Flow = {
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
      verifier: oauth.generateRandomCodeVerifier(),
      redirectUri: this.#options.redirectUri ?? `${here}/login/oidc/callback`,
      next,
    };
    const target = new URL(server.authorization_endpoint ?? this.#options.issuer);
    const parameters = {
      client_id: this.#options.clientId,
      redirect_uri: flow.redirectUri,
      response_type: "code",
      scope: SCOPES,
      state: flow.state,
      nonce: flow.nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(flow.verifier),
      code_challenge_method: "S256",
    };
    for (const [key, value] of Object.entries(parameters)) target.searchParams.set(key, value);
    const cookie = this.#access.cookie(COOKIE, this.#access.signer.sign("oidc", toJson(flow)), {
      seconds: FLOW_SECONDS,
      isSecure,
    });
    return new Response(null, { status: 302, headers: { location: target.href, "set-cookie": cookie } });
  }

  /**
   * Handles the callback: returns who logged in, the path to go to, and the `Set-Cookie` that ends the flow.
   * Rejects with OperatingError.
   */
  async finish(request: Request): Promise<{ identity: Identity; next: string; forget: string }> {
    const signed = cookieOf(request, COOKIE);
    const text = signed === null ? null : this.#access.signer.read("oidc", signed);
    const flow = text === null ? null : fromJson(text);
    if (!isRecord(flow)) {
      throw new OperatingError("This login was not started here, or has expired: start again");
    }
    const { state, nonce, verifier, redirectUri, next } = flow as unknown as Flow;
    const { clientId, clientSecret } = this.#options;
    try {
      const oauth = await library();
      const insecure = this.#insecure(oauth);
      const server = await this.#discover();
      const client: oauth.Client = { client_id: clientId };
      const parameters = oauth.validateAuthResponse(server, client, new URL(request.url), state);
      const authentication = clientSecret === null ? oauth.None() : oauth.ClientSecretPost(clientSecret);
      const answer = await oauth.authorizationCodeGrantRequest(
        server,
        client,
        authentication,
        parameters,
        redirectUri,
        verifier,
        insecure,
      );
      const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer, {
        expectedNonce: nonce,
        requireIdToken: true,
      });
      const claims = oauth.getValidatedIdTokenClaims(tokens)!;
      const user = this.#userOf(claims);
      const forget = this.#access.cookie(COOKIE, "", { seconds: 0, isSecure: false });
      return { identity: { user, scope: "admin" }, next, forget };
    } catch (error) {
      if (error instanceof OperatingError) throw error;
      throw new OperatingError(`Cannot log in at ${this.name}: ${errorText(error)}`, { cause: error });
    }
  }

  /** Returns the e-mail address unless the issuer marks it unverified, else the subject. */
  #userOf(claims: oauth.IDToken): string {
    const email = typeof claims["email"] === "string" && claims["email_verified"] !== false
      ? claims["email"]
      : null;
    const user = email ?? claims.sub;
    const { allowed } = this.#options;
    if (allowed === null || allowed.split("|").some((one) => isLike(one.trim(), user))) return user;
    this.#world.log.warning(`Login refused: "${user.slice(0, 200)}" is not among --oidc-allow`);
    throw new OperatingError(`${user} may not use this console`);
  }

  #discover(): Promise<oauth.AuthorizationServer> {
    const finding = this.#server ??= this.#find();
    finding.catch(() => this.#server = null);
    return finding;
  }

  async #find(): Promise<oauth.AuthorizationServer> {
    const issuer = new URL(this.#options.issuer);
    const oauth = await library();
    try {
      const answer = await oauth.discoveryRequest(issuer, { algorithm: "oidc", ...this.#insecure(oauth) });
      return await oauth.processDiscoveryResponse(issuer, answer);
    } catch (error) {
      throw new OperatingError(`Cannot reach the issuer ${issuer.host}: ${errorText(error)}`, {
        cause: error,
      });
    }
  }

  /** Allows plain HTTP if the issuer's URL says so: the command line accepts it only for loopback. */
  #insecure(oauth: Library): { [oauth.allowInsecureRequests]?: boolean } {
    return this.#options.issuer.startsWith("http:") ? { [oauth.allowInsecureRequests]: true } : {};
  }
}

type Library = typeof oauth;

/** Loads the library at the first login. */
function library(): Promise<Library> {
  return import("oauth4webapi");
}

/** Matches a text against a pattern in which only `.*` is special. Linear: one pass over the parts. */
function isLike(pattern: string, text: string): boolean {
  const parts = pattern.split(".*").map((part) => part.replaceAll("\\.", "."));
  const [first = "", ...rest] = parts;
  if (rest.length === 0) return text === first;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  const last = rest.pop()!;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
