/** Servers that speak another protocol, or break ours: one line with the URL, and no reason to try again. */

import assert from "node:assert/strict";
import { isWorthRetrying } from "../../../lib/app/mod.ts";
import { DialError } from "../../../lib/base/mod.ts";
import { connect } from "../../../lib/transport/mod.ts";
import { CONNECT_OPTIONS } from "../../support/connect_options.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

/** A server that answers whatever comes first with these bytes; its port. */
function answering(bytes: Uint8Array): { port: number; close(): Promise<void> } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for await (const socket of listener) {
      const buffer = new Uint8Array(4096);
      await socket.read(buffer).catch(() => null);
      await socket.write(bytes).catch(() => 0);
      while (await socket.read(buffer).catch(() => null) !== null);
      socket.close();
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  return {
    port,
    close: () => {
      listener.close();
      return serving;
    },
  };
}

function method(...payload: number[]): number[] {
  return [1, 0, 0, 0, 0, 0, payload.length, ...payload, 0xce];
}

const start = (major: number, minor: number, ...table: number[]) =>
  method(0, 10, 0, 10, major, minor, ...table, 0, 0, 0, 5, ...ascii("PLAIN"), 0, 0, 0, 5, ...ascii("en_US"));
const ascii = (text: string) => [...new TextEncoder().encode(text)];

const CASES: Record<string, Record<string, number[]>> = {
  amqp: {
    "another protocol": ascii("HTTP/1.1 400 Bad Request\r\n\r\n"),
    "Redis": ascii("-ERR unknown command\r\n"),
    "AMQP 1.0": [...ascii("AMQP"), 0, 1, 0, 0],
    "a lower version": start(0, 8, 0, 0, 0, 0),
    "a giant frame": [1, 0, 0, 0x7f, 0xff, 0xff, 0xff],
    "a frame without its end": start(0, 9, 0, 0, 0, 0).with(-1, 0),
    "a frame of another channel": [1, 0, 7, 0, 0, 0, 4, 0, 10, 0, 10, 0xce],
    "an unknown method": method(0, 99, 0, 99),
    "half a method": method(0, 10, 0),
    "a table that is cut": method(0, 10, 0, 10, 0, 9, 0xff, 0xff, 0xff, 0xff, 1),
    "bytes after the method": method(0, 10, 0, 10, 0, 9, 0, 0, 0, 1),
    "TLS": [0x15, 3, 3, 0, 2, 2, 0x28],
    "zeros": new Array<number>(100).fill(0),
  },
  redis: {
    "another protocol": ascii("HTTP/1.1 400 Bad Request\r\n\r\n"),
    "SSH": ascii("SSH-2.0-OpenSSH_9.2\r\n"),
    "AMQP": start(0, 9, 0, 0, 0, 0),
    "a giant bulk": ascii("$9999999999\r\n"),
    "a negative length": ascii("$-5\r\n"),
    "a giant map": ascii("%4000000000\r\n"),
    "a deep array": ascii("*1\r\n".repeat(1000)),
    "a long line": ascii("+".padEnd(70_000, "a")),
    "too many answers": ascii("+OK\r\n+OK\r\n+OK\r\n"),
    "empty answers": ascii("_\r\n").concat(ascii("_\r\n")),
  },
};

for (const [scheme, cases] of Object.entries(CASES)) {
  Deno.test(`connect: ${scheme} to a server that speaks something else`, async () => {
    for (const [what, bytes] of Object.entries(cases)) {
      const server = answering(new Uint8Array(bytes));
      const url = `${scheme}://u:secret@127.0.0.1:${server.port}`;
      await assert.rejects(
        connect(realTestWorld(), url, { ...CONNECT_OPTIONS, timeoutMs: 5000 }),
        (error: Error) => {
          assert.ok(error instanceof DialError, `${what}: ${error.name}`);
          const place = `Cannot connect to ${scheme}://u:**@127.0.0.1:${server.port}: `;
          assert.ok(error.message.startsWith(place), `${what}: ${error.message}`);
          assert.match(
            error.message,
            /: the server does not speak (AMQP 0-9-1|Redis's protocol) \(.+\)$/,
            what,
          );
          assert.equal(error.message.includes("\n"), false);
          assert.equal(isWorthRetrying(error), false, what);
          return true;
        },
      );
      await server.close();
    }
  });
}
