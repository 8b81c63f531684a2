/** Sockets of node:net and node:tls as byte streams: where Deno has none, and for TLS that verifies nothing. */

import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { type Address, type ByteStream, ConnectionLost, type TlsOptions } from "../base/mod.ts";

/** The options of `node:tls` for these: also those of a library that connects by it. */
export function nodeTlsOptions(tls: TlsOptions): ConnectionOptions {
  const { caCerts, cert, key } = tls;
  return {
    rejectUnauthorized: tls.verify,
    ...(caCerts.length === 0 ? {} : { ca: [...caCerts] }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key }),
    ...(tls.checkHostname ? {} : { checkServerIdentity: () => undefined }),
  };
}

/**
 * Connects by node:net, or node:tls. TCP connections have no delay (Nagle off) and keep alive. Rejects with the
 * socket's own error; closes what it opened when the signal aborts.
 */
export async function openNodeSocket(address: Address, signal: AbortSignal): Promise<ByteStream> {
  // Loaded only here: node:tls takes 40 ms, which every start would pay.
  const isTls = address.kind === "tcp" && address.tls !== null;
  const connect = isTls
    ? await tlsConnect(address.host, address.port, address.tls!)
    : await plainConnect(address);
  signal.throwIfAborted();
  return await new Promise((resolve, reject) => {
    const socket = connect();
    const onAbort = () => {
      socket.destroy();
      reject(signal.reason);
    };
    const onError = (error: Error) => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      reject(error);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("error", onError);
    socket.once(isTls ? "secureConnect" : "connect", () => {
      signal.removeEventListener("abort", onAbort);
      socket.off("error", onError);
      resolve(socketStream(socket));
    });
  });
}

async function tlsConnect(host: string, port: number, tls: TlsOptions): Promise<() => Socket> {
  const { connect } = await import("node:tls");
  // A server's name is sent unless it is an address.
  const servername = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
  return () => connect({ host, port, ...servername, ...nodeTlsOptions(tls) });
}

async function plainConnect(address: Address): Promise<() => Socket> {
  const { connect } = await import("node:net");
  if (address.kind === "unix") return () => connect({ path: address.path });
  return () => connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true });
}

/** A socket as a ByteStream: paused reading, so that the peer is held back while nobody reads. */
function socketStream(socket: Socket): ByteStream {
  let failure: Error | null = null;
  let isEnded = false;
  let wake: (() => void) | null = null;
  const stir = () => {
    wake?.();
    wake = null;
  };
  socket.on("readable", stir);
  socket.on("end", () => {
    isEnded = true;
    stir();
  });
  socket.on("error", (error: Error) => {
    failure = error;
    stir();
  });
  socket.on("close", () => {
    isEnded = true;
    stir();
  });
  return {
    async read(buffer) {
      for (;;) {
        const waiting = Math.min(socket.readableLength, buffer.length);
        const chunk: Buffer | null = waiting > 0 ? socket.read(waiting) : socket.read();
        if (chunk !== null) {
          if (chunk.length > buffer.length) {
            socket.unshift(chunk.subarray(buffer.length));
            buffer.set(chunk.subarray(0, buffer.length));
            return buffer.length;
          }
          buffer.set(chunk);
          return chunk.length;
        }
        if (failure !== null) throw failure;
        if (isEnded) return null;
        await new Promise<void>((resolve) => wake = resolve);
      }
    },
    write(bytes) {
      return new Promise((resolve, reject) => {
        if (failure !== null || isEnded) return reject(failure ?? new ConnectionLost("Cannot write: closed"));
        socket.write(bytes, (error) => error ? reject(error) : resolve());
      });
    },
    close: () => void socket.destroy(),
  };
}
