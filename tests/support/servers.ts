/**
 * Real servers for one test: each on a free port of 127.0.0.1, with its own folder, ended with the test. If a
 * server is not installed, the error names the command that installs it.
 */

import type { AmqpProxyOptions, ProxySeen } from "./amqp_proxy.ts";
import { answers, eventually, freePort } from "./ports.ts";
import { mustRun, runProgram } from "./run.ts";

/** A private redis-server. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  readonly password: string | null;
  /** The unix socket it also listens on. */
  readonly socketPath: string;
  /** Returns its URL with the password; default database 0. */
  url(db?: number): string;
  /** Runs redis-cli on it and returns the trimmed output. */
  cli(...args: string[]): Promise<string>;
  /** Ends it in order (SIGTERM) and removes its folder. A second call has no effect. */
  stop(): Promise<void>;
  /** Ends it in order and starts it on the same port after `downMs`. It keeps its data only with `aof`. */
  restart(downMs?: number): Promise<void>;
  /** Ends it by SIGKILL; `restart` starts it again. */
  kill(): Promise<void>;
}

/** Options of redis-server. `args` are added to its command line. */
export interface RedisServerOptions {
  readonly password?: string;
  readonly aof?: boolean;
  readonly port?: number;
  readonly args?: readonly string[];
}

/** A private rabbitmq-server with its own epmd. */
export interface RabbitServer extends AsyncDisposable {
  readonly port: number;
  /** If `LOVAGE_RABBITMQ` names a version: the proxy in front of the server that reports this version. */
  readonly proxy: AmqpProxy | null;
  url(options?: { vhost?: string; scheme?: string; user?: string; password?: string }): string;
  /** Runs rabbitmqctl on it and returns the output. */
  ctl(...args: string[]): Promise<string>;
  /** Adds virtual hosts that guest may use, all at once, since each call of rabbitmqctl takes a second. */
  addVhosts(names: readonly string[]): Promise<void>;
  stop(): Promise<void>;
  restart(): Promise<void>;
}

/** Starts a redis-server. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const program = findProgram("redis-server", "redis-server");
  const port = options.port ?? freePort();
  const password = options.password ?? null;
  const folder = await Deno.makeTempDir({ prefix: "lovage-redis-" });
  const socketPath = `${folder}/redis.sock`;
  let child: Child | null = null;
  let isStopped = false;

  async function start(): Promise<void> {
    child = new Child(program, [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--unixsocket",
      socketPath,
      "--save",
      "",
      "--dir",
      folder,
      "--appendonly",
      options.aof ? "yes" : "no",
      "--daemonize",
      "no",
      ...(password === null ? [] : ["--requirepass", password]),
      ...options.args ?? [],
    ], { log: `${folder}/log` });
    const started = child;
    await eventually(
      async () => {
        started.mustLive("redis-server");
        return (await server.cli("ping")) === "PONG";
      },
      () => `redis-server answers: ${started.output}`,
      { everyMs: 20 },
    );
  }

  const server: RedisServer = {
    port,
    password,
    socketPath,
    url: (db = 0) => `redis://${password === null ? "" : `:${password}@`}127.0.0.1:${port}/${db}`,
    async cli(...args) {
      const login = password === null ? [] : ["-a", password, "--no-auth-warning"];
      return (await runProgram(["redis-cli", "-p", String(port), ...login, ...args])).out.trim();
    },
    async stop() {
      if (isStopped) return;
      isStopped = true;
      await child?.end("SIGTERM");
      await Deno.remove(folder, { recursive: true });
    },
    async restart(downMs = 100) {
      await child?.end("SIGTERM");
      await new Promise((resolve) => setTimeout(resolve, downMs));
      await start();
    },
    async kill() {
      await child?.end("SIGKILL");
    },
    [Symbol.asyncDispose]() {
      return server.stop();
    },
  };
  try {
    await start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/**
 * Starts a rabbitmq-server, which takes about 8 seconds. User and password are guest. `conf`: lines of
 * rabbitmq.conf; `plugins`: names of plugins to enable. With `LOVAGE_RABBITMQ=4.3.0` in the environment, a
 * proxy in front of it reports this version and refuses what it refuses.
 */
export async function startRabbit(
  options: { conf?: string; plugins?: readonly string[] } = {},
): Promise<RabbitServer> {
  const wrapper = findProgram("rabbitmq-server", "rabbitmq-server");
  // Debian's command is a wrapper that changes the user; the script behind it runs as any user.
  const program = isFile("/usr/lib/rabbitmq/bin/rabbitmq-server")
    ? "/usr/lib/rabbitmq/bin/rabbitmq-server"
    : wrapper;
  const control = isFile("/usr/lib/rabbitmq/bin/rabbitmqctl")
    ? "/usr/lib/rabbitmq/bin/rabbitmqctl"
    : findProgram("rabbitmqctl", "rabbitmq-server");
  const epmdProgram = findProgram("epmd", "rabbitmq-server");
  const [port, epmdPort, distPort] = [freePort(), freePort(), freePort()];
  const folder = await Deno.makeTempDir({ prefix: "lovage-rabbit-" });
  await Deno.writeTextFile(`${folder}/plugins`, `[${(options.plugins ?? []).join(",")}].\n`);
  await Deno.writeTextFile(
    `${folder}/rabbitmq.conf`,
    `vm_memory_high_watermark.absolute = 2GB\ndisk_free_limit.absolute = 100MB\n${options.conf ?? ""}`,
  );
  const env = {
    HOME: folder,
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    RABBITMQ_NODENAME: `lovage${port}@localhost`,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_MNESIA_BASE: `${folder}/mnesia`,
    RABBITMQ_LOG_BASE: `${folder}/log`,
    RABBITMQ_PID_FILE: `${folder}/pid`,
    RABBITMQ_CONFIG_FILE: `${folder}/rabbitmq`,
    ERL_CRASH_DUMP: `${folder}/erl_crash.dump`,
    RABBITMQ_CONF_ENV_FILE: `${folder}/none`,
    RABBITMQ_ENABLED_PLUGINS_FILE: `${folder}/plugins`,
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
  };
  const epmd = new Child(epmdProgram, ["-port", String(epmdPort), "-address", "127.0.0.1"], {
    log: `${folder}/epmd.log`,
    env,
  });
  let child: Child | null = null;
  let isStopped = false;
  const version = Deno.env.get("LOVAGE_RABBITMQ");
  const proxy = version ? await startAmqpProxy(port, { version }) : null;
  const shownPort = proxy?.port ?? port;

  async function start(): Promise<void> {
    const started = child = new Child(program, [], { log: `${folder}/output.log`, env });
    await eventually(
      async () => {
        started.mustLive("rabbitmq-server");
        return await greets(port);
      },
      () => `rabbitmq-server answers: ${started.output}`,
      { everyMs: 100 },
    );
  }

  const server: RabbitServer = {
    port: shownPort,
    proxy,
    url: ({ vhost = "/", scheme = "amqp", user = "guest", password = "guest" } = {}) =>
      `${scheme}://${user}:${password}@127.0.0.1:${shownPort}/${vhost}`,
    ctl: (...args) => mustRun([control, "-n", env.RABBITMQ_NODENAME, ...args], { env }),
    async addVhosts(names) {
      const list = names.map((name) => `<<"${name}">>`).join(",");
      const all = `<<".*">>`;
      await server.ctl(
        "eval",
        `[begin rabbit_vhost:add(V, <<"test">>), ` +
          `rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, ${all}, ${all}, ${all}, <<"test">>) end ` +
          `|| V <- [${list}]].`,
      );
    },
    async stop() {
      if (isStopped) return;
      isStopped = true;
      await proxy?.close();
      await child?.end("SIGTERM");
      await epmd.end("SIGTERM");
      await Deno.remove(folder, { recursive: true });
    },
    async restart() {
      await child?.end("SIGTERM");
      await start();
    },
    [Symbol.asyncDispose]() {
      return server.stop();
    },
  };
  try {
    await eventually(() => answers(epmdPort), "epmd answers", { everyMs: 20 });
    await start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** A proxy in front of an AMQP server that reports another version (amqp_proxy.ts). */
export interface AmqpProxy extends AsyncDisposable {
  readonly port: number;
  /** Returns what it has seen of our clients so far. */
  seen(): Promise<ProxySeen>;
  /**
   * Makes every publish close its channel, as LavinMQ does when it is low on disk space; false: no longer.
   */
  setLowOnDisk(value: boolean): Promise<void>;
  /** Ends every open connection. */
  cut(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a proxy to the AMQP server on a port of 127.0.0.1. */
export async function startAmqpProxy(targetPort: number, options: AmqpProxyOptions = {}): Promise<AmqpProxy> {
  const [port, controlPort] = [freePort(), freePort()];
  const folder = await Deno.makeTempDir({ prefix: "lovage-proxy-" });
  const script = new URL("./amqp_proxy.ts", import.meta.url).href;
  const child = new Child(Deno.execPath(), [
    ...["run", "-A", "--quiet", "--no-check", script],
    ...[targetPort, port, controlPort].map(String),
    JSON.stringify(options),
  ], { log: `${folder}/log` });
  let isClosed = false;
  const ask = async (order: Record<string, unknown>): Promise<unknown> => {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port: controlPort });
    await conn.write(new TextEncoder().encode(`${JSON.stringify(order)}\n`));
    const buffer = new Uint8Array(64 * 1024);
    const decoder = new TextDecoder();
    let text = "";
    for (let count; (count = await conn.read(buffer)) !== null;) {
      text += decoder.decode(buffer.subarray(0, count), { stream: true });
    }
    return JSON.parse(text);
  };
  const proxy: AmqpProxy = {
    port,
    seen: async () => await ask({ do: "seen" }) as ProxySeen,
    setLowOnDisk: async (value) => void await ask({ do: "low on disk", value }),
    cut: async () => void await ask({ do: "cut" }),
    async close() {
      if (isClosed) return;
      isClosed = true;
      await child.end("SIGTERM");
      await Deno.remove(folder, { recursive: true });
    },
    [Symbol.asyncDispose]() {
      return proxy.close();
    },
  };
  await eventually(
    async () => {
      child.mustLive("the proxy");
      return await answers(port) && await answers(controlPort);
    },
    () => `the proxy answers: ${child.output}`,
    { everyMs: 20 },
  );
  return proxy;
}

/**
 * Returns Python's module path: first CELERY_SRC, a folder with the sources of a Celery and kombu other than
 * Debian's 5.2.6 (CONTRIBUTING.md), then `folders`.
 */
export function pythonPath(...folders: string[]): string {
  return [Deno.env.get("CELERY_SRC") ?? "", ...folders].filter(Boolean).join(":");
}

/** Python with Debian's Celery 5.2.6, or with the sources that CELERY_SRC names. */
export interface Python {
  readonly path: string;
  /** The command line of `python -m celery`. */
  readonly celery: readonly string[];
  /** Major and minor version of its Celery as one number for comparison: 5.02, 5.06. */
  readonly version: number;
}

let python: Python | null = null;

/** Returns the Python that has Celery and redis-py; throws with the apt-get command if there is none. */
export async function requirePython(): Promise<Python> {
  if (python) return python;
  const path = "/usr/bin/python3";
  const help =
    "Python with Celery is not installed: apt-get install -y --no-install-recommends python3-celery python3-redis";
  if (!isFile(path)) throw new Error(help);
  const asked = "import celery, kombu, redis; print(celery.VERSION[0] + celery.VERSION[1] / 100)";
  const { code, out } = await runProgram([path, "-c", asked], { env: { PYTHONPATH: pythonPath() } });
  if (code !== 0) {
    const source = Deno.env.get("CELERY_SRC");
    throw new Error(source ? `Celery cannot be imported with CELERY_SRC=${source}` : help);
  }
  return python = { path, celery: [path, "-m", "celery"], version: Number(out) };
}

/** Gives Python a value as JSON and returns what it prints, parsed as JSON. */
// deno-lint-ignore no-explicit-any -- what a script prints is its caller's to know
export async function askPython(args: readonly string[], value: unknown, env = {}): Promise<any> {
  const { path } = await requirePython();
  const options = { env: { PYTHONPATH: pythonPath(), ...env }, input: JSON.stringify(value) };
  return JSON.parse(await mustRun([path, ...args], options));
}

/** A server that logs into a file. Ended with its descendants. */
class Child {
  #child: Deno.ChildProcess;
  #log: string;
  #hasEnded = false;

  /**
   * The server writes into the file `log` itself, so that one that outlives a test leaves no read of ours
   * open.
   */
  constructor(
    program: string,
    args: string[],
    { log, env = {} }: { log: string; env?: Record<string, string> },
  ) {
    this.#log = log;
    this.#child = new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$@" >>"$0" 2>&1', log, program, ...args],
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
      // It gets its own process group: Erlang starts helpers that end only with the group.
      detached: true,
    }).spawn();
    this.#child.status.then(() => this.#hasEnded = true);
  }

  /** The end of its output. */
  get output(): string {
    try {
      return Deno.readTextFileSync(this.#log).slice(-65_536);
    } catch {
      return "";
    }
  }

  /** Throws with its output if it has ended. */
  mustLive(name: string): void {
    if (this.#hasEnded) throw new Error(`${name} has ended: ${this.output}`);
  }

  /** Sends a signal, waits up to 20 s, then kills the whole group. */
  async end(signal: Deno.Signal): Promise<void> {
    if (!this.#hasEnded) {
      try {
        this.#child.kill(signal);
      } catch {
        // it ended meanwhile
      }
      const timer = setTimeout(() => this.#killGroup(), 20_000);
      await this.#child.status;
      clearTimeout(timer);
    }
    this.#killGroup();
  }

  #killGroup(): void {
    try {
      Deno.kill(-this.#child.pid, "SIGKILL");
    } catch {
      // the group is empty
    }
  }
}

/** Whether an AMQP server responds on the port: to a wrong protocol header it sends its own. */
async function greets(port: number): Promise<boolean> {
  try {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port });
    await conn.write(new TextEncoder().encode("AMQP\0\0\0\0"));
    const buffer = new Uint8Array(8);
    const count = await conn.read(buffer);
    return count !== null && new TextDecoder().decode(buffer.subarray(0, 4)) === "AMQP";
  } catch {
    return false;
  }
}

function findProgram(name: string, debianPackage: string): string {
  const folders = `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/usr/local/sbin:/usr/bin`.split(":");
  for (const folder of folders) {
    if (folder && isFile(`${folder}/${name}`)) return `${folder}/${name}`;
  }
  throw new Error(`${name} is not installed: apt-get install -y --no-install-recommends ${debianPackage}`);
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
