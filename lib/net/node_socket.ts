/** Sockets of node:net and node:tls as byte streams, for Node and for TLS without verification. */

import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { type Address, type ByteStream, ConnectionLost, type TlsOptions } from "../base/mod.ts";

/** Returns TLS options as options of node:tls, also for libraries that connect through it. */
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
 * Connects by node:net or node:tls. Plain TCP connections have Nagle's algorithm off and keep-alive on.
 * Rejects with the socket's error, or with the signal's reason after closing the socket.
 */
export async function openNodeSocket(address: Address, signal: AbortSignal): Promise<ByteStream> {
  // The modules are loaded on use: node:tls would add 40 ms to every start.
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
  // The server's name is sent unless the host is an IP address.
  const servername = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
  return () => connect({ host, port, ...servername, ...nodeTlsOptions(tls) });
}

async function plainConnect(address: Address): Promise<() => Socket> {
  const { connect } = await import("node:net");
  if (address.kind === "unix") return () => connect({ path: address.path });
  return () => connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true });
}

/**
 * Wraps a socket as a ByteStream. It reads in paused mode, so that the peer has to wait while nobody reads.
 */
function socketStream(socket: Socket): ByteStream {
  let failure: Error | null = null;
  let isEnded = false;
  let resolveRead: (() => void) | null = null;
  const wakeReader = () => {
    resolveRead?.();
    resolveRead = null;
  };
  socket.on("readable", wakeReader);
  socket.on("end", () => {
    isEnded = true;
    wakeReader();
  });
  socket.on("error", (error: Error) => {
    failure = error;
    wakeReader();
  });
  socket.on("close", () => {
    isEnded = true;
    wakeReader();
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
        await new Promise<void>((resolve) => resolveRead = resolve);
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
