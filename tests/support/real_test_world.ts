/**
 * A World on the real clock, chance, network and processes, whose terminal and log are kept as text: what tests
 * against real servers and files run in.
 */

import { connect as tlsConnect } from "node:tls";
import {
  type Address,
  type ByteStream,
  type Clock,
  DialError,
  errorText,
  type Host,
  type SpawnOptions,
  type World,
} from "../../lib/base/mod.ts";
import { RecordingLog, TextTerminal } from "./fake_world.ts";

/** A real World with a terminal and a log to look at. */
export interface RealTestWorld extends World {
  readonly terminal: TextTerminal;
  readonly log: RecordingLog;
}

/** `env` is laid over the real environment. */
export function realTestWorld(options: { env?: Readonly<Record<string, string>> } = {}): RealTestWorld {
  const clock = realClock();
  return {
    clock,
    random: {
      u32: () => crypto.getRandomValues(new Uint32Array(1))[0]!,
      fraction: () => Math.random(),
      id: () => crypto.randomUUID(),
    },
    dialer: { dial: (address, { signal }) => dial(address, signal) },
    spawner: {
      spawn: (program, spawnOptions) => spawn(program, spawnOptions),
      spawnSelf: (spawnOptions) =>
        spawn(Deno.execPath(), {
          ...spawnOptions,
          args: [
            "run",
            "-A",
            "-q",
            new URL("../../main.ts", import.meta.url).pathname,
            ...spawnOptions.args,
          ],
        }),
    },
    terminal: new TextTerminal(),
    host: realHost(options.env ?? {}),
    log: new RecordingLog(clock),
  };
}

function realClock(): Clock {
  let deferred: (() => void)[] = [];
  return {
    monoMs: () => performance.now(),
    wallMs: () => Date.now(),
    arm(atMonoMs, fn) {
      const timer = setTimeout(fn, Math.max(0, Math.min(atMonoMs - performance.now(), 0x7fff_ffff)));
      return () => clearTimeout(timer);
    },
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const onAbort = () => {
          clearTimeout(timer);
          reject(signal!.reason);
        };
        const timer = setTimeout(() => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        }, ms);
        signal?.addEventListener("abort", onAbort, { once: true });
      });
    },
    defer(fn) {
      deferred.push(fn);
      if (deferred.length > 1) return;
      setImmediate(() => {
        const batch = deferred;
        deferred = [];
        for (const one of batch) one();
      });
    },
  };
}

function realHost(env: Readonly<Record<string, string>>): Host {
  return {
    hostname: Deno.hostname(),
    pid: Deno.pid,
    cpus: navigator.hardwareConcurrency,
    platform: Deno.build.os,
    loadavg: () => Deno.loadavg() as [number, number, number],
    rssBytes: () => Deno.memoryUsage().rss,
    env: (name) => env[name] ?? Deno.env.get(name) ?? null,
    cwd: Deno.cwd(),
  };
}

async function dial(address: Address, signal?: AbortSignal): Promise<ByteStream> {
  const place = address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
  try {
    if (address.kind === "unix") {
      return denoStream(await Deno.connect({ transport: "unix", path: address.path }));
    }
    if (address.tls === null) {
      return denoStream(
        await Deno.connect({ hostname: address.host, port: address.port, ...(signal ? { signal } : {}) }),
      );
    }
    const { caCerts, cert, key, verify } = address.tls;
    if (verify) {
      return denoStream(
        await Deno.connectTls({
          hostname: address.host,
          port: address.port,
          caCerts: [...caCerts],
          ...(cert !== null && key !== null ? { cert, key } : {}),
        }),
      );
    }
    return await looseTls(address.host, address.port);
  } catch (error) {
    throw new DialError(`Cannot connect to ${place}: ${errorText(error)}`, {
      cause: error,
      isRetryable: true,
    });
  }
}

function denoStream(conn: Deno.Conn): ByteStream {
  return {
    read: (buffer) => conn.read(buffer),
    async write(bytes) {
      for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    },
    close() {
      try {
        conn.close();
      } catch {
        // closed before
      }
    },
  };
}

/** Deno's own TLS always verifies; Node's can be told not to. */
function looseTls(host: string, port: number): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host, port, rejectUnauthorized: false, servername: host });
    const chunks = socket[Symbol.asyncIterator]();
    let rest: Uint8Array = new Uint8Array();
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      resolve({
        async read(buffer) {
          if (rest.length === 0) {
            const next = await chunks.next();
            if (next.done) return null;
            rest = next.value;
          }
          const part = rest.subarray(0, buffer.length);
          buffer.set(part);
          rest = rest.subarray(part.length);
          return part.length;
        },
        write: (bytes) =>
          new Promise((done, failed) => socket.write(bytes, (error) => error ? failed(error) : done())),
        close: () => void socket.destroy(),
      });
    });
  });
}

function spawn(program: string, options: SpawnOptions) {
  const child = new Deno.Command(program, {
    args: [...options.args],
    stdin: options.stdin ?? "null",
    stdout: options.stdout ?? "null",
    stderr: options.stderr ?? "null",
    clearEnv: options.clearEnv ?? false,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.detached === undefined ? {} : { detached: options.detached }),
  }).spawn();
  return {
    pid: child.pid,
    ended: child.status.then(({ code, signal }) => ({ code, signal: signal ?? null })),
    stdin: options.stdin === "piped" ? child.stdin : null,
    stdout: options.stdout === "piped" ? child.stdout : null,
    stderr: options.stderr === "piped" ? child.stderr : null,
    kill(signal: Deno.Signal) {
      try {
        child.kill(signal);
      } catch {
        // it has ended already
      }
    },
  };
}
