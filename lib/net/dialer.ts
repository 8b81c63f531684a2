/** The real Dialer: TCP, TLS and unix sockets, with a time limit. */

import { type Address, type ByteStream, type Dialer, DialError, errorText } from "../base/mod.ts";
import { byteStream, type RawConnection } from "./stream.ts";
import { openNodeSocket } from "./node_socket.ts";

/** Opens a stream to an address. If the signal aborts, the caller closes a stream that arrives later. */
type Open = (address: Address, signal: AbortSignal) => Promise<ByteStream>;

/** Returns a Dialer on Deno's sockets. Plain TCP connections have Nagle's algorithm off and keep-alive on. */
export function realDialer(): Dialer {
  return { dial: (address, options) => dial(address, options, openDeno) };
}

/** Returns a Dialer on the sockets of node:net and node:tls. */
export function nodeDialer(): Dialer {
  return { dial: (address, options) => dial(address, options, openNodeSocket) };
}

/** Returns an address as text: `tcp://host:port`, `tls://host:port` or `unix:/path`. */
export function addressText(address: Address): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `${address.tls === null ? "tcp" : "tls"}://${host}:${address.port}`;
}

async function dial(
  address: Address,
  options: { timeoutMs: number; signal?: AbortSignal },
  open: Open,
): Promise<ByteStream> {
  options.signal?.throwIfAborted();
  const deadline = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([deadline, options.signal]) : deadline;
  const opening = open(address, signal);
  try {
    return await raced(opening, signal);
  } catch (error) {
    // Deno's TLS and unix calls take no signal, so a connection that arrives too late is closed here.
    void opening.then((late) => late.close(), () => {});
    options.signal?.throwIfAborted();
    const why = deadline.aborted ? `no answer in ${options.timeoutMs / 1000} s` : dialCause(error);
    throw new DialError(`Cannot connect to ${addressText(address)}: ${why}`, {
      cause: error,
      isRetryable: true,
    });
  }
}

function raced(opening: Promise<ByteStream>, signal: AbortSignal): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    void opening.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

async function openDeno(address: Address, signal: AbortSignal): Promise<ByteStream> {
  if (address.kind === "unix") {
    return byteStream(raw(await Deno.connect({ transport: "unix", path: address.path })));
  }
  const { host, port, tls } = address;
  if (tls !== null) {
    // Deno's own API always verifies certificates.
    if (!tls.verify) return openNodeSocket(address, signal);
    const identity = tls.cert !== null && tls.key !== null ? { cert: tls.cert, key: tls.key } : {};
    const connection = await Deno.connectTls({
      hostname: host,
      port,
      caCerts: [...tls.caCerts],
      unsafelyDisableHostnameVerification: !tls.checkHostname,
      ...identity,
    });
    try {
      // Done here, so that a refused certificate is a dial error.
      await connection.handshake();
    } catch (error) {
      connection.close();
      throw error;
    }
    return byteStream(raw(connection));
  }
  const connection = await Deno.connect({ transport: "tcp", hostname: host, port, signal });
  connection.setNoDelay(true);
  connection.setKeepAlive(true);
  return byteStream(raw(connection));
}

/**
 * Adapts the types: Deno's require an ArrayBuffer behind each view, and our buffers are never shared memory.
 */
function raw(connection: Deno.Conn): RawConnection {
  return {
    read: (buffer) => connection.read(buffer as Uint8Array<ArrayBuffer>),
    write: (bytes) => connection.write(bytes as Uint8Array<ArrayBuffer>),
    close: () => connection.close(),
  };
}

/** Returns the cause in common terms, without the runtime's prefix. */
function dialCause(error: unknown): string {
  const text = errorText(error);
  if (/connection refused|ECONNREFUSED/i.test(text)) return "connection refused";
  if (/connection reset|ECONNRESET/i.test(text)) return "connection reset";
  if (/(failed to lookup|no such host|ENOTFOUND|EAI_AGAIN|name or service not known)/i.test(text)) {
    return "no such host";
  }
  if (/no such file|connect ENOENT/i.test(text)) return "no such socket";
  return text.replaceAll(/\s*\n\s*/g, " ");
}
