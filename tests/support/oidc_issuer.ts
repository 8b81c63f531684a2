/** A small OpenID Connect issuer for one test: discovery, authorization (granted at once), tokens, keys. */

import { freePort } from "./ports.ts";

/** A running issuer. */
export interface OidcIssuer extends AsyncDisposable {
  readonly url: string;
  /** Claims of the user who is logged in. */
  claims: Record<string, unknown>;
  /** The last token request. */
  lastRequest: URLSearchParams | null;
  /** If set, the next token has this instead of the right nonce. */
  nonce: string | null;
}

/** Starts an issuer on 127.0.0.1. */
export async function startIssuer(clientId: string): Promise<OidcIssuer> {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(
    { ...algorithm, publicExponent: new Uint8Array([1, 0, 1]) },
    true,
    ["sign", "verify"],
  );
  const jwk = {
    ...await crypto.subtle.exportKey("jwk", keys.publicKey),
    kid: "k1",
    alg: "RS256",
    use: "sig",
  };
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  const codes = new Map<string, { challenge: string; nonce: string; redirect: string }>();
  const issuer: Omit<OidcIssuer, typeof Symbol.asyncDispose> = {
    url,
    claims: { sub: "kim" },
    lastRequest: null,
    nonce: null,
  };

  const sign = async (claims: Record<string, unknown>): Promise<string> => {
    const text = (value: unknown) => base64url(new TextEncoder().encode(JSON.stringify(value)));
    const body = `${text({ alg: "RS256", kid: "k1", typ: "JWT" })}.${text(claims)}`;
    const signature = await crypto.subtle.sign(algorithm, keys.privateKey, new TextEncoder().encode(body));
    return `${body}.${base64url(new Uint8Array(signature))}`;
  };

  const token = async (form: URLSearchParams): Promise<Response> => {
    issuer.lastRequest = form;
    const code = codes.get(form.get("code") ?? "");
    const verifier = new TextEncoder().encode(form.get("code_verifier") ?? "");
    const digest = base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", verifier)));
    if (code === undefined || digest !== code.challenge || form.get("redirect_uri") !== code.redirect) {
      return Response.json({ error: "invalid_grant" }, { status: 400 });
    }
    codes.delete(form.get("code")!);
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: url, aud: clientId, iat: now, exp: now + 300, nonce: issuer.nonce ?? code.nonce };
    return Response.json({
      access_token: "at",
      token_type: "Bearer",
      id_token: await sign({ ...claims, ...issuer.claims }),
    });
  };

  const server = Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, async (request) => {
    const { pathname: path, searchParams: query } = new URL(request.url);
    if (path === "/.well-known/openid-configuration") {
      return Response.json({
        issuer: url,
        authorization_endpoint: `${url}/authorize`,
        token_endpoint: `${url}/token`,
        jwks_uri: `${url}/keys`,
      });
    }
    if (path === "/keys") return Response.json({ keys: [jwk] });
    if (path === "/token") return await token(new URLSearchParams(await request.text()));
    const code = crypto.randomUUID();
    const redirect = query.get("redirect_uri")!;
    codes.set(code, { challenge: query.get("code_challenge")!, nonce: query.get("nonce")!, redirect });
    return new Response(null, {
      status: 302,
      headers: { location: `${redirect}?code=${code}&state=${encodeURIComponent(query.get("state")!)}` },
    });
  });
  return Object.assign(issuer, { [Symbol.asyncDispose]: () => server.shutdown() });
}

function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
