import assert from "node:assert/strict";
import { OperatingError } from "../../../lib/base/mod.ts";
import { Access } from "../../../lib/console/auth/access.ts";
import { Oidc, type OidcOptions } from "../../../lib/console/auth/oidc.ts";
import { type OidcIssuer, startIssuer } from "../../support/oidc_issuer.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

const HERE = "http://127.0.0.1:5555/ui";

function login(issuer: OidcIssuer, options: Partial<OidcOptions> = {}) {
  const world = realTestWorld();
  const access = new Access(world, {
    basic: [],
    tokens: [],
    proxyHeader: null,
    trustedProxies: [],
    hasOidc: true,
    isReadOnly: false,
    cookieSecret: null,
    prefix: "/ui",
  });
  const own = { issuer: issuer.url, clientId: "ui", clientSecret: null, redirectUri: null, allowed: null };
  return new Oidc(world, { ...own, ...options }, access);
}

/** What a browser does: to the issuer, and back with what it carries. */
async function visit(oidc: Oidc, change: (back: URL, cookie: string) => [URL, string] = (...both) => both) {
  const begun = await oidc.begin(HERE, "/ui/tasks", false);
  const cookie = begun.headers.get("set-cookie")!.split(";")[0]!;
  const said = await fetch(begun.headers.get("location")!, { redirect: "manual" });
  await said.body?.cancel();
  const [url, carried] = change(new URL(said.headers.get("location")!), cookie);
  return await oidc.finish(new Request(url, { headers: { cookie: carried } }));
}

const refused = (why: RegExp) => (error: Error) => error instanceof OperatingError && why.test(error.message);

Deno.test("oidc: the code flow with PKCE ends in who it is, and where they wanted to go", async () => {
  await using issuer = await startIssuer("ui");
  issuer.claims = { sub: "1", email: "kim@example.org", email_verified: true };
  const { identity, next } = await visit(login(issuer, { clientSecret: "s3cret" }));
  assert.deepEqual([identity, next], [{ user: "kim@example.org", scope: "admin" }, "/ui/tasks"]);
  assert.equal(issuer.lastRequest!.get("client_secret"), "s3cret");
  assert.ok(issuer.lastRequest!.get("code_verifier")!.length >= 43);
  assert.equal(issuer.lastRequest!.get("redirect_uri"), `${HERE}/login/oidc/callback`);
  issuer.claims = { sub: "1", email: "kim@example.org", email_verified: false };
  assert.equal((await visit(login(issuer))).identity.user, "1", "an address that nobody vouches for is none");
});

Deno.test("oidc: only who is allowed may come, by whole addresses", async () => {
  await using issuer = await startIssuer("ui");
  const allowed = "sam@example.org|.*@example.com";
  const outcomes: Record<string, string> = {};
  for (
    const email of [
      "sam@example.org",
      "kim@example.com",
      "xsam@example.org",
      "kim@example.com.evil",
      "samXexample.org",
    ]
  ) {
    issuer.claims = { sub: "1", email, email_verified: true };
    outcomes[email] = await visit(login(issuer, { allowed })).then(() => "in", () => "out");
  }
  assert.deepEqual(Object.values(outcomes), ["in", "in", "out", "out", "out"]);
});

Deno.test("oidc: what was not begun here, or was changed on its way, is refused", async () => {
  await using issuer = await startIssuer("ui");
  const oidc = login(issuer);
  await assert.rejects(visit(oidc, (back) => [back, ""]), refused(/not started here/));
  await assert.rejects(visit(oidc, (back, cookie) => [back, `${cookie}x`]), refused(/not started here/));
  const otherState = (back: URL, cookie: string): [URL, string] => {
    back.searchParams.set("state", "other");
    return [back, cookie];
  };
  await assert.rejects(visit(oidc, otherState), refused(/^Cannot log in at 127/));
  issuer.nonce = "stale";
  await assert.rejects(visit(oidc), refused(/^Cannot log in at 127/));
  issuer.nonce = null;
  issuer.claims = { sub: "1", aud: "another client" };
  await assert.rejects(visit(oidc), refused(/^Cannot log in at 127/));
  issuer.claims = { sub: "1", exp: 1 };
  await assert.rejects(visit(oidc), refused(/^Cannot log in at 127/));
});

Deno.test("oidc: an issuer that is away is one line", async () => {
  const issuer = await startIssuer("ui");
  await issuer[Symbol.asyncDispose]();
  await assert.rejects(login(issuer).begin(HERE, "/", false), refused(/^Cannot reach the issuer 127/));
});
