/**
 * TLS: certificates from the settings that Celery reads (`broker_use_ssl`, `redis_backend_use_ssl`, the query of
 * `rediss://`), and the connection that verifies nothing, which Deno's own API does not offer.
 *
 * Source: celery 5.2.6 backends/redis.py (`ssl_cert_reqs` and its neighbours), kombu 5.2.4 transport/pyamqp.py
 * (`ca_certs` and its neighbours), redis-py 4.3.4 SSLConnection.
 */

import type { Buffer } from "node:buffer";
import type { TLSSocket } from "node:tls";
import { type ByteStream, ConnectionLost, errorText, type TlsOptions, UsageError } from "../base/mod.ts";

/** Where the parts of a TLS set-up are, as settings name them. Paths are files of PEM text. */
export interface TlsFiles {
  readonly caCerts: string | null;
  readonly certfile: string | null;
  readonly keyfile: string | null;
  /** False: any certificate will do. */
  readonly verify: boolean;
}

/**
 * The TLS settings in a record as Celery's users write it: `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_certfile`,
 * `ssl_keyfile`, each also without `ssl_` (AMQP's spelling). `true` and `{}`: verified, with the system's authorities.
 * Requirements are `required`, `optional` (as `required`: a client always has a certificate to look at) and
 * `none`, also as `CERT_NONE` or Python's numbers. Throws UsageError on another word.
 */
export function tlsFilesOf(settings: boolean | Readonly<Record<string, unknown>>): TlsFiles {
  const given = typeof settings === "boolean" ? {} : settings;
  const pick = (name: string) => {
    const value = given[`ssl_${name}`] ?? given[name];
    return typeof value === "string" && value !== "" ? value : null;
  };
  return {
    caCerts: pick("ca_certs"),
    certfile: pick("certfile"),
    keyfile: pick("keyfile"),
    verify: isVerified(given["ssl_cert_reqs"] ?? given["cert_reqs"] ?? "required"),
  };
}

function isVerified(requirement: unknown): boolean {
  const word = String(requirement).toLowerCase().replace(/^(ssl\.)?(verifymode\.)?cert_/, "");
  if (word === "none" || word === "0" || word === "false") return false;
  if (word === "required" || word === "optional" || word === "1" || word === "2" || word === "true") {
    return true;
  }
  throw new UsageError(
    `Cannot use ssl_cert_reqs "${String(requirement)}": it is one of required, optional, none`,
  );
}

/** Reads the files. Throws UsageError that names the file which cannot be read. */
export async function readTlsOptions(files: TlsFiles): Promise<TlsOptions> {
  return {
    caCerts: files.caCerts === null ? [] : [await readPem(files.caCerts)],
    cert: files.certfile === null ? null : await readPem(files.certfile),
    key: files.keyfile === null ? null : await readPem(files.keyfile),
    verify: files.verify,
  };
}

async function readPem(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new UsageError(`Cannot read the TLS file "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Connects over TLS without looking at the certificate (`ssl_cert_reqs=none`). Rejects with the socket's own error;
 * closes what it opened when the signal aborts.
 */
export async function dialUnverified(
  where: { host: string; port: number; tls: TlsOptions },
  signal: AbortSignal,
): Promise<ByteStream> {
  // Loaded only here: node:tls takes 40 ms, which every start would pay.
  const { connect } = await import("node:tls");
  signal.throwIfAborted();
  return await new Promise((resolve, reject) => {
    const { cert, key, caCerts } = where.tls;
    const socket = connect({
      host: where.host,
      port: where.port,
      rejectUnauthorized: false,
      ...(cert === null ? {} : { cert }),
      ...(key === null ? {} : { key }),
      ...(caCerts.length === 0 ? {} : { ca: [...caCerts] }),
    });
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
    socket.once("secureConnect", () => {
      signal.removeEventListener("abort", onAbort);
      socket.off("error", onError);
      resolve(socketStream(socket));
    });
  });
}

/** A node socket as a ByteStream: paused reading, so that the peer is held back while nobody reads. */
function socketStream(socket: TLSSocket): ByteStream {
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
