import assert from "node:assert/strict";
import { amqpTarget } from "../../../../lib/transport/amqp/url.ts";

async function target(url: string, useSsl: boolean | Record<string, unknown> = false) {
  const { address, virtualHost, username, password } = await amqpTarget(url, useSsl);
  if (address.kind !== "tcp") throw new Error("no tcp");
  const { host, port, tls } = address;
  return {
    host,
    port,
    tls: tls !== null,
    vhost: virtualHost,
    login: `${username}:${password}`,
    verify: tls?.verify,
  };
}

Deno.test("amqpTarget: defaults, virtual hosts and escapes", async () => {
  const plain = {
    host: "localhost",
    port: 5672,
    tls: false,
    vhost: "/",
    login: "guest:guest",
    verify: undefined,
  };
  for (
    const url of ["amqp://", "amqp", "pyamqp://", "amqp://guest:guest@localhost:5672//", "amqp://localhost/"]
  ) {
    assert.deepEqual(await target(url), plain, url);
  }
  const vhosts: [string, string][] = [
    ["amqp://h/shop", "shop"],
    ["amqp://h//shop", "/shop"],
    ["amqp://h/%2Fshop", "/shop"],
    ["amqp://h/%2F", "/"],
    ["amqp://h/a%2Fb%20c", "a/b c"],
  ];
  for (const [url, vhost] of vhosts) assert.equal((await target(url)).vhost, vhost, url);
  assert.equal((await target("amqp://u%40x:p%2Fw%3A@h")).login, "u@x:p/w:");
  assert.equal((await target("amqp://u@h")).login, "u:");
  assert.equal((await target("amqp://[::1]:99/v")).host, "::1");
});

Deno.test("amqpTarget: TLS by scheme, setting and query", async () => {
  const { tls, port, verify } = await target("amqps://h");
  assert.deepEqual([tls, port, verify], [true, 5671, true]);
  assert.equal((await target("amqp://h", true)).port, 5671);
  assert.equal((await target("amqp://h:1", true)).port, 1);
  assert.equal((await target("amqp://h", { cert_reqs: 0 })).verify, false);
  assert.equal((await target("amqps://h?ssl_cert_reqs=none")).verify, false);
  await assert.rejects(target("amqps://u:secret@h", { ca_certs: "/nowhere/ca.pem" }), (error: Error) => {
    assert.match(error.message, /\/nowhere\/ca\.pem/);
    assert.ok(!error.message.includes("secret"));
    return error.name === "UsageError";
  });
});
