import assert from "node:assert/strict";
import { IsolatedService } from "../../../lib/http/mod.ts";
import { freePort } from "../../support/ports.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { disposableFolder } from "../../support/temporary.ts";

/** A handler that returns what it was asked. */
function echo(request: Request): Response {
  const { pathname, search } = new URL(request.url);
  const body = `${request.method} ${pathname}${search} ${request.headers.get("accept")}`;
  return new Response(body, { status: 418, headers: { "x-of": "main" } });
}

Deno.test("http: an isolate of its own answers /livez, and asks the main isolate for everything else", async () => {
  const place = { kind: "tcp" as const, host: "127.0.0.1", port: freePort(), tls: null };
  await using service = await IsolatedService.open(realTestWorld(), place, echo);
  assert.equal(service.url, `http://127.0.0.1:${place.port}`);
  const live = await fetch(`${service.url}/livez?verbose`, { headers: { accept: "application/json" } });
  assert.deepEqual([live.status, await live.json()], [200, { status: "ok", checks: [] }]);
  const other = await fetch(`${service.url}/a/b?c=d`, { headers: { accept: "x/y" } });
  assert.deepEqual([other.status, other.headers.get("x-of"), await other.text()], [
    418,
    "main",
    "GET /a/b?c=d x/y",
  ]);
  const head = await fetch(`${service.url}/a`, { method: "HEAD" });
  assert.deepEqual([head.status, head.headers.get("content-length"), await head.text()], [418, "11", ""]);
  const posted = await fetch(`${service.url}/livez`, { method: "POST", body: "x" });
  assert.equal(await posted.text(), "POST /livez */*");
});

Deno.test("http: an isolate of its own serves at a unix socket, and reports why it cannot", async () => {
  await using folder = await disposableFolder();
  const place = { kind: "unix" as const, path: `${folder.path}/s.sock` };
  const world = realTestWorld();
  {
    await using service = await IsolatedService.open(world, place, echo);
    assert.equal(service.url, `unix:${place.path}`);
    assert.equal((await Deno.stat(place.path)).mode! & 0o777, 0o600);
    using connection = await Deno.connect({ transport: "unix", path: place.path });
    const asked = "GET /x?y HTTP/1.1\r\nhost: h\r\naccept: */*\r\nconnection: close\r\n\r\n";
    await connection.write(new TextEncoder().encode(asked));
    assert.match(
      await new Response(connection.readable).text(),
      /^HTTP\/1.1 418 [\s\S]*\r\n\r\nGET \/x\?y \*\/\*$/,
    );
    await assert.rejects(
      IsolatedService.open(world, place, echo),
      /^OperatingError: Cannot serve at unix:/,
    );
  }
  await assert.rejects(Deno.stat(place.path), Deno.errors.NotFound);
});

Deno.test("http: a request that the main isolate cannot answer is a 500, and the log says why", async () => {
  const world = realTestWorld();
  const place = { kind: "tcp" as const, host: "127.0.0.1", port: 0, tls: null };
  await using service = await IsolatedService.open(world, place, () => {
    throw new Error("no numbers");
  });
  const { status, body } = await fetch(`${service.url}/metrics`);
  await body!.cancel();
  assert.equal(status, 500);
  assert.deepEqual(world.log.messages("ERROR"), ["Cannot answer GET /metrics: no numbers"]);
});
