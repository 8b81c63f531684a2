import assert from "node:assert/strict";
import { DialError, UsageError } from "../../../lib/base/mod.ts";
import { addressText, nodeDialer, readTlsOptions, realDialer, tlsFilesOf } from "../../../lib/net/mod.ts";
import { freePort } from "../../support/ports.ts";

const dialer = realDialer();
const utf8 = new TextDecoder();

/** Reads until the end of the stream or `count` bytes. */
async function readText(stream: { read(buffer: Uint8Array): Promise<number | null> }, count: number) {
  const buffer = new Uint8Array(7);
  let text = "";
  while (text.length < count) {
    const read = await stream.read(buffer);
    if (read === null) break;
    text += utf8.decode(buffer.subarray(0, read));
  }
  return text;
}

/** An echo server on whatever listens. It has ended when the last connection has. */
function echo(listener: Deno.Listener): AsyncDisposable {
  const echoing: Promise<void>[] = [];
  const serving = (async () => {
    for await (const { readable, writable } of listener) {
      echoing.push(readable.pipeTo(writable).catch(() => {}));
    }
  })().catch(() => {});
  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
      await Promise.all(echoing);
    },
  };
}

async function certificates(): Promise<{ cert: string; key: string; folder: string }> {
  const folder = await Deno.makeTempDir();
  const command = new Deno.Command("openssl", {
    args: [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" "),
      ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
      ...["-keyout", `${folder}/key.pem`, "-out", `${folder}/cert.pem`],
    ],
    stderr: "null",
  });
  assert.ok((await command.output()).success, "openssl makes a certificate");
  const [cert, key] = await Promise.all(
    ["cert", "key"].map((name) => Deno.readTextFile(`${folder}/${name}.pem`)),
  );
  return { cert: cert!, key: key!, folder };
}

Deno.test("realDialer: writes over TCP arrive in order, however many are under way", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using _server = echo(listener);
  const { port } = listener.addr as Deno.NetAddr;
  const stream = await dialer.dial({ kind: "tcp", host: "127.0.0.1", port, tls: null }, { timeoutMs: 2000 });
  const parts = Array.from({ length: 50 }, (_, n) => `part ${n};`.repeat(20));
  const writes = Promise.all(parts.map((part) => stream.write(new TextEncoder().encode(part))));
  const whole = parts.join("");
  assert.equal(await readText(stream, whole.length), whole);
  await writes;
  stream.close();
  stream.close();
});

Deno.test("realDialer: unix sockets", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/s`;
  {
    await using _server = echo(Deno.listen({ transport: "unix", path }) as unknown as Deno.Listener);
    const stream = await dialer.dial({ kind: "unix", path }, { timeoutMs: 2000 });
    await stream.write(new TextEncoder().encode("hello"));
    assert.equal(await readText(stream, 5), "hello");
    stream.close();
  }
  await assert.rejects(
    dialer.dial({ kind: "unix", path: `${folder}/none` }, { timeoutMs: 2000 }),
    (error) =>
      error instanceof DialError && /^Cannot connect to unix:.*\/none: no such socket$/.test(error.message),
  );
  await Deno.remove(folder, { recursive: true });
});

Deno.test("realDialer: what refuses, does not exist, stays silent or is given up is named in one line", async () => {
  const port = freePort();
  await assert.rejects(
    dialer.dial({ kind: "tcp", host: "127.0.0.1", port, tls: null }, { timeoutMs: 2000 }),
    (error) =>
      error instanceof DialError && error.isRetryable &&
      error.message === `Cannot connect to tcp://127.0.0.1:${port}: connection refused`,
  );
  await assert.rejects(
    dialer.dial({ kind: "tcp", host: "no-such-host.invalid", port, tls: null }, { timeoutMs: 5000 }),
    /Cannot connect to tcp:\/\/no-such-host.invalid:\d+: (no such host|no answer)/,
  );
  await assert.rejects(
    nodeDialer().dial({ kind: "tcp", host: "127.0.0.1", port, tls: null }, { timeoutMs: 2000 }),
    {
      name: "DialError",
      message: `Cannot connect to tcp://127.0.0.1:${port}: connection refused`,
    },
  );
  await assert.rejects(nodeDialer().dial({ kind: "unix", path: "/nowhere/none" }, { timeoutMs: 2000 }), {
    name: "DialError",
    message: "Cannot connect to unix:/nowhere/none: no such socket",
  });
  // A server that accepts and never shakes hands.
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const silent = (listener.addr as Deno.NetAddr).port;
  const tls = { caCerts: [], cert: null, key: null, verify: true, checkHostname: true };
  await assert.rejects(
    dialer.dial({ kind: "tcp", host: "localhost", port: silent, tls }, { timeoutMs: 150 }),
    /Cannot connect to tls:\/\/localhost:\d+: no answer in 0.15 s/,
  );
  (await accepted).close();
  listener.close();
  const controller = new AbortController();
  controller.abort(new Error("given up"));
  await assert.rejects(
    dialer.dial({ kind: "tcp", host: "127.0.0.1", port, tls: null }, {
      timeoutMs: 50,
      signal: controller.signal,
    }),
    /given up/,
  );
});

Deno.test("realDialer: TLS is verified against the given authority, or against nothing where asked for", async () => {
  const { cert, key, folder } = await certificates();
  const listener = Deno.listenTls({ hostname: "localhost", port: 0, cert, key });
  {
    await using _server = echo(listener);
    const { port, hostname } = listener.addr as Deno.NetAddr;
    const at = (tls: { caCerts: string[]; verify: boolean; checkHostname?: boolean }, host = "localhost") =>
      dialer.dial({ kind: "tcp", host, port, tls: { checkHostname: true, ...tls, cert: null, key: null } }, {
        timeoutMs: 3000,
      });
    const files = tlsFilesOf({ ssl_ca_certs: `${folder}/cert.pem`, ssl_cert_reqs: "CERT_REQUIRED" });
    const { caCerts, verify } = await readTlsOptions(files);
    for (const tls of [{ caCerts: [...caCerts], verify }, { caCerts: [], verify: false }]) {
      const stream = await at(tls);
      const text = "over TLS ".repeat(5000);
      const writing = stream.write(new TextEncoder().encode(text));
      assert.equal(await readText(stream, text.length), text);
      await writing;
      stream.close();
    }
    await assert.rejects(at({ caCerts: [], verify: true }), (error) => error instanceof DialError);
    // The certificate is for "localhost", not for its address.
    await assert.rejects(at({ caCerts: [...caCerts], verify }, hostname), DialError);
    (await at({ caCerts: [...caCerts], verify, checkHostname: false }, hostname)).close();
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("TLS settings: both spellings, Python's words, and clear errors", async () => {
  assert.deepEqual(tlsFilesOf(true), {
    caCerts: null,
    certfile: null,
    keyfile: null,
    verify: true,
    checkHostname: true,
  });
  assert.deepEqual(tlsFilesOf({ ca_certs: "/a", certfile: "/b", keyfile: "/c", cert_reqs: 0 }), {
    caCerts: "/a",
    certfile: "/b",
    keyfile: "/c",
    verify: false,
    checkHostname: true,
  });
  for (const word of ["false", "0", false, "no"]) {
    assert.equal(tlsFilesOf({ ssl_check_hostname: word }).checkHostname, false, String(word));
  }
  for (const word of ["none", "CERT_NONE", "ssl.CERT_NONE", "VerifyMode.CERT_NONE"]) {
    assert.equal(tlsFilesOf({ ssl_cert_reqs: word }).verify, false, word);
  }
  for (const word of ["required", "optional", "CERT_REQUIRED", 1, 2]) {
    assert.equal(tlsFilesOf({ ssl_cert_reqs: word }).verify, true, String(word));
  }
  assert.throws(() => tlsFilesOf({ ssl_cert_reqs: "maybe" }), UsageError);
  await assert.rejects(
    readTlsOptions({
      caCerts: "/no/such/file",
      certfile: null,
      keyfile: null,
      verify: true,
      checkHostname: true,
    }),
    (error) => error instanceof UsageError && error.message.includes('"/no/such/file"'),
  );
});

Deno.test("addressText shows addresses as people write them", () => {
  assert.equal(addressText({ kind: "tcp", host: "::1", port: 1, tls: null }), "tcp://[::1]:1");
  assert.equal(addressText({ kind: "unix", path: "/run/r.sock" }), "unix:/run/r.sock");
});
