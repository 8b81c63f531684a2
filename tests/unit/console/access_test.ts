import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import { Access, type AccessOptions, allows } from "../../../lib/console/auth/access.ts";
import { Networks } from "../../../lib/console/auth/networks.ts";
import { refuseCrossSite, refuseHost } from "../../../lib/console/auth/origin.ts";
import { hashPassword, isHashed, isPassword, Signer } from "../../../lib/console/auth/secrets.ts";
import { fakeWorld } from "../../support/fake_world.ts";

const NOTHING: AccessOptions = {
  basic: [],
  tokens: [],
  proxyHeader: null,
  trustedProxies: ["127.0.0.0/8", "::1"],
  hasOidc: false,
  isReadOnly: false,
  cookieSecret: "a secret",
  prefix: "",
};

function request(headers: Record<string, string> = {}, method = "GET"): Request {
  return new Request("http://127.0.0.1:5555/", { headers, method });
}

const basic = (text: string) => ({ authorization: `Basic ${btoa(text)}` });

Deno.test("access: without a login everybody may do everything, with --read-only only look", async () => {
  const open = new Access(fakeWorld(), NOTHING);
  assert.equal(open.isNeeded, false);
  assert.deepEqual(await open.identify(request(), "10.0.0.1"), { user: null, scope: "admin" });
  const reading = new Access(fakeWorld(), { ...NOTHING, isReadOnly: true });
  assert.deepEqual(await reading.identify(request(), null), { user: null, scope: "read" });
});

Deno.test("access: passwords, plain and hashed", async () => {
  const hash = await hashPassword("hash: it");
  assert.ok(isHashed(hash) && !hash.includes("hash: it"));
  assert.equal(await isPassword("hash: it", hash), true);
  assert.equal(await isPassword("hash it", hash), false);
  const access = new Access(fakeWorld(), { ...NOTHING, basic: ["kim:plain:er", `sam:${hash}`] });
  const who = async (text: string) => (await access.identify(request(basic(text)), null))?.user ?? null;
  assert.deepEqual(
    await Promise.all(["kim:plain:er", "sam:hash: it", "sam:wrong", "nobody:plain:er", "kim:"].map(who)),
    ["kim", "sam", null, null, null],
  );
  assert.throws(() => new Access(fakeWorld(), { ...NOTHING, basic: ["kim"] }), UsageError);
});

Deno.test("access: tokens have scopes, each with those before it", async () => {
  const tokens = ["read:looker", "operate:doer", "master"];
  const access = new Access(fakeWorld(), { ...NOTHING, tokens });
  const scope = async (token: string) =>
    (await access.identify(request({ authorization: `Bearer ${token}` }), null))?.scope ?? null;
  assert.deepEqual(
    await Promise.all(["looker", "doer", "master", "read:looker", "x"].map(scope)),
    ["read", "operate", "admin", null, null],
  );
  assert.deepEqual([allows("operate", "read"), allows("operate", "admin"), allows("read", "read")], [
    true,
    false,
    true,
  ]);
});

Deno.test("access: a session is a signed cookie that ends", async () => {
  const world = fakeWorld();
  const access = new Access(world, { ...NOTHING, basic: ["kim:secret"], prefix: "/x" });
  const cookie = access.cookieFor({ user: "kim", scope: "admin" }, true);
  assert.match(cookie, /; Path=\/x; Max-Age=43200; HttpOnly; SameSite=Lax; Secure$/);
  const value = cookie.split(";")[0]!;
  assert.equal((await access.identify(request({ cookie: `a=b; ${value}` }), null))?.user, "kim");
  assert.equal(await access.identify(request({ cookie: `${value}x` }), null), null);
  const other = new Access(world, { ...NOTHING, basic: ["kim:secret"], cookieSecret: "another" });
  assert.equal(await other.identify(request({ cookie: value }), null), null);
  await world.clock.advance(12 * 3600 * 1000 + 1000);
  assert.equal(await access.identify(request({ cookie: value }), null), null);
  const signer = new Signer("k");
  assert.equal(signer.read("one", signer.sign("one", "text")), "text");
  assert.equal(signer.read("two", signer.sign("one", "text")), null);
});

Deno.test("access: the header of a proxy counts only if the proxy is trusted", async () => {
  const access = new Access(fakeWorld(), {
    ...NOTHING,
    proxyHeader: "X-User",
    trustedProxies: ["10.1.0.0/16", "::1"],
  });
  const asked = request({ "x-user": "kim" });
  assert.equal((await access.identify(asked, "10.1.2.3"))?.user, "kim");
  assert.equal((await access.identify(asked, "::ffff:10.1.2.3"))?.user, "kim");
  assert.equal((await access.identify(asked, null))?.user, "kim");
  assert.equal(await access.identify(asked, "10.2.2.3"), null);
  assert.throws(() => new Networks(["10.0.0.0/33"]), UsageError);
  assert.throws(() => new Networks(["example.org"]), UsageError);
  assert.equal(new Networks(["fd00::/8"]).has("fd12::1"), true);
});

Deno.test("origin: what changes something comes from our own pages, or from a program", () => {
  const asked = (headers: Record<string, string>, method = "POST") =>
    refuseCrossSite(request({ host: "console:5555", ...headers }, method))?.status ?? null;
  assert.equal(asked({}), null);
  assert.equal(asked({ "sec-fetch-site": "same-origin", origin: "http://console:5555" }), null);
  for (const site of ["cross-site", "same-site", "none"]) {
    assert.equal(asked({ "sec-fetch-site": site }), 403, site);
  }
  assert.equal(asked({ origin: "http://console:5555" }), null);
  assert.equal(asked({ origin: "https://console:5555" }), null, "TLS ends at a proxy");
  for (const origin of ["http://evil", "null", "http://console:80"]) {
    assert.equal(asked({ origin }), 403, origin);
  }
  assert.equal(asked({ origin: "http://evil" }, "GET"), null);
});

Deno.test("origin: a stranger's name that points here is refused where nobody needs to log in", () => {
  const status = (host: string, allowed: string[] = [], isOpen = true) =>
    refuseHost(request({ host }), { allowed, isOpen, own: ["mybox"] })?.status ?? null;
  for (
    const host of [
      "localhost:5555",
      "127.0.0.1",
      "[::1]:5555",
      "mybox:5555",
      "192.168.1.4:5555",
      "a.localhost",
    ]
  ) {
    assert.equal(status(host), null, host);
  }
  for (const host of ["evil.example", "evil.example:5555", "127.0.0.1.evil.example", "localhost.evil"]) {
    assert.equal(status(host), 421, host);
  }
  assert.equal(status("any.example", [], false), null, "a login protects");
  assert.equal(status("ui.example.org", ["*.example.org"]), null);
  assert.equal(status("other.example", ["ui.example.org"], false), 421);
});
