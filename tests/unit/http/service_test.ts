import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import { HttpService, isLoopback, metricsResponse, portOf } from "../../../lib/http/mod.ts";
import { OPENMETRICS_TYPE, TEXT_TYPE } from "../../../lib/metrics/mod.ts";
import { makeSigner } from "../../support/certificates.ts";
import { FakeClock } from "../../support/fake_world.ts";
import { freePort } from "../../support/ports.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { disposableFolder } from "../../support/temporary.ts";

const hello = () => new Response("hello");

async function askUnix(path: string): Promise<string> {
  using connection = await Deno.connect({ transport: "unix", path });
  await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
  return await new Response(connection.readable).text();
}

Deno.test("http: only its user may use a unix socket, and one that was left behind is replaced", async () => {
  await using folder = await disposableFolder();
  const path = `${folder.path}/s.sock`;
  // The socket that a killed process leaves.
  Deno.listen({ transport: "unix", path }).close();
  await Deno.writeTextFile(`${folder.path}/other`, "");
  const world = realTestWorld();
  {
    await using service = await HttpService.open(world, { kind: "unix", path }, hello);
    assert.equal(service.url, `unix:${path}`);
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    assert.match(await askUnix(path), /^HTTP\/1.1 200[\s\S]*hello$/);
    await assert.rejects(
      HttpService.open(world, { kind: "unix", path }, hello),
      { name: "UsageError", message: /^Cannot serve at unix:/, exitCode: 73 },
    );
    assert.match(await askUnix(path), /hello$/, "the other one did not take it away");
  }
  await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
});

Deno.test("http: a port in use is an error of one line with its address", async () => {
  const world = realTestWorld();
  const place = { kind: "tcp" as const, host: "127.0.0.1", port: freePort(), tls: null };
  await using service = await HttpService.open(world, place, hello);
  assert.equal(service.url, `http://127.0.0.1:${place.port}`);
  assert.equal(await (await fetch(service.url)).text(), "hello");
  await assert.rejects(
    HttpService.open(world, place, hello),
    /Cannot serve at http:\/\/127.0.0.1:\d+: .*in use/i,
  );
  const files = { cert: "/none/c.pem", key: "/none/k.pem" };
  await assert.rejects(HttpService.open(world, { ...place, port: 0, tls: files }, hello), /"\/none\/c.pem"/);
});

Deno.test("http: loopback places and valid ports are recognised", () => {
  const at = (host: string) => isLoopback({ kind: "tcp", host, port: 1, tls: null });
  assert.deepEqual(["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"].map(at), [
    true,
    true,
    true,
    true,
    true,
  ]);
  assert.deepEqual(["0.0.0.0", "::", "", "10.0.0.1", "localhost.evil", "127.0.0.1.evil"].map(at), [
    false,
    false,
    false,
    false,
    false,
    false,
  ]);
  assert.equal(isLoopback({ kind: "unix", path: "/x" }), true);
  assert.equal(portOf("0", "port"), 0);
  for (const text of ["", "-1", "65536", "80a"]) assert.throws(() => portOf(text, "port"), UsageError);
});

Deno.test("http: certificates are read again when they change, and a wrong one changes nothing", async () => {
  await using folder = await disposableFolder();
  const [first, second] = [await makeSigner(folder.path, "first"), await makeSigner(folder.path, "second")];
  const tls = { cert: `${folder.path}/cert.pem`, key: `${folder.path}/key.pem` };
  const put = async ({ certificate, key }: { certificate: string; key: string }) => {
    await Deno.copyFile(certificate, tls.cert);
    await Deno.copyFile(key, tls.key);
  };
  await put(first);
  const clock = new FakeClock();
  const world = { ...realTestWorld(), clock };
  await using service = await HttpService.open(
    world,
    { kind: "tcp", host: "127.0.0.1", port: 0, tls },
    hello,
  );
  const { port } = service;
  assert.equal(await subjectAt(port), "CN = first");
  await put({ certificate: second.certificate, key: first.key });
  await clock.advance(10_000);
  assert.equal(await subjectAt(port), "CN = first");
  await put(second);
  await clock.advance(10_000);
  assert.equal(await subjectAt(port), "CN = second");
  assert.equal(service.port, port);
});

Deno.test("http: a long text of any kind is compressed if the client accepts it", async () => {
  const long = "celery_task_sent_total 1\n".repeat(1000);
  const handler = (request: Request) => {
    const { pathname, searchParams } = new URL(request.url);
    const headers = { "content-type": searchParams.get("type")! };
    return new Response(pathname === "/short" ? "ok" : long, { headers });
  };
  await using service = await HttpService.open(
    realTestWorld(),
    { kind: "tcp", host: "127.0.0.1", port: 0, tls: null },
    handler,
  );
  /** Bytes on the wire, and their content. */
  const ask = async (path: string, type: string, encoding: string, method = "GET") => {
    const asked = `${method} ${path}?type=${
      encodeURIComponent(type)
    } HTTP/1.0\r\nhost: x\r\naccept-encoding: ${encoding}`;
    return await raw(service.port, asked);
  };
  for (const type of [OPENMETRICS_TYPE, TEXT_TYPE, "application/json", "text/html; charset=utf-8"]) {
    const { head, body } = await ask("/", type, "deflate, gzip;q=0.5");
    assert.match(head, /^content-encoding: gzip$/m);
    assert.match(head, /^vary: accept-encoding$/m);
    assert.ok(body.length < 2000);
    const plain = new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip"));
    assert.equal(await new Response(plain).text(), long);
  }
  for (const encoding of ["gzip;q=0", "identity", "br"]) {
    const { head, body } = await ask("/", TEXT_TYPE, encoding);
    assert.doesNotMatch(head, /content-encoding/);
    assert.equal(body.length, long.length);
  }
  for (
    const [path, type] of [["/short", TEXT_TYPE], ["/", "text/event-stream"], ["/", "image/png"]] as const
  ) {
    assert.doesNotMatch((await ask(path, type, "gzip")).head, /content-encoding/);
  }
  const { head, body } = await ask("/", TEXT_TYPE, "gzip", "HEAD");
  assert.match(head, new RegExp(`^content-length: ${long.length}$`, "m"));
  assert.equal(body.length, 0);
});

Deno.test("http: a request that no handler can read is refused before it reaches one", async () => {
  await using service = await HttpService.open(
    realTestWorld(),
    { kind: "tcp", host: "127.0.0.1", port: 0, tls: null },
    ({ url, method }) => new Response(new Request(url, { method }).url),
  );
  const status = async (line: string) =>
    (await raw(service.port, `${line} HTTP/1.0\r\nhost: x`)).head.slice(9, 12);
  assert.equal(await status("TRACE /metrics"), "405");
  assert.equal(await status("GET http://["), "400");
  assert.equal(await status("GET /metrics"), "200");
});

Deno.test("http: OpenMetrics if the client prefers it at least as much as the other format", async () => {
  const asked = async (accept: string) => {
    const request = new Request("http://x/metrics", { headers: { accept } });
    const response = await metricsResponse(request, (isOpenMetrics) => String(isOpenMetrics));
    return [response.headers.get("content-type"), await response.text()];
  };
  const prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5," +
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
  for (
    const accept of [prometheus, "Application/OpenMetrics-Text", "text/plain,application/openmetrics-text"]
  ) {
    assert.deepEqual(await asked(accept), [OPENMETRICS_TYPE, "true"], accept);
  }
  const others = [
    "",
    "*/*",
    "application/openmetrics-text;q=0",
    "text/plain,application/openmetrics-text;q=0.5",
  ];
  for (const accept of others) assert.deepEqual(await asked(accept), [TEXT_TYPE, "false"], accept);
});

/** Returns what a server answers to the given lines of a request. */
async function raw(port: number, lines: string): Promise<{ head: string; body: Uint8Array<ArrayBuffer> }> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(`${lines}\r\n\r\n`));
  const bytes = await new Response(connection.readable).bytes();
  const text = new TextDecoder("latin1").decode(bytes);
  const at = text.indexOf("\r\n\r\n");
  return { head: text.slice(0, at).replaceAll("\r\n", "\n").toLowerCase(), body: bytes.slice(at + 4) };
}

/** Returns the name in the certificate that a server shows. */
async function subjectAt(port: number): Promise<string> {
  const { stdout } = await new Deno.Command("sh", {
    args: [
      "-c",
      `openssl s_client -connect 127.0.0.1:${port} </dev/null 2>/dev/null | openssl x509 -noout -subject`,
    ],
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout).trim().replace("subject=", "");
}
