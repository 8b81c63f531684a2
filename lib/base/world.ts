/**
 * The world as one value: clock, chance, sockets, processes, terminal, files' home and the log.
 *
 * Nothing below `platform/` asks a global for the time, a timer, a socket or a process. `main.ts` builds the real
 * World (platform/real_world.ts); tests build a World of doubles (tests/support/fake_world.ts); the same tree of
 * code runs on either.
 */

import type { Log } from "./log.ts";

/** Undoes one `Clock.arm`. Calling it twice, or after the timer fired, does nothing. */
export type Disarm = () => void;

/** Time and timers. */
export interface Clock {
  /** Milliseconds of a clock that never goes back; its zero is arbitrary. For durations and deadlines. */
  monoMs(): number;
  /** Milliseconds since the Unix epoch, fractions allowed. For stamps on the wire. */
  wallMs(): number;
  /** Calls `fn` once when `monoMs()` has reached `atMonoMs`; at the next turn of the loop where it has already. */
  arm(atMonoMs: number, fn: () => void): Disarm;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Runs `fn` once at the end of the current turn of the loop, after I/O callbacks already queued. */
  defer(fn: () => void): void;
}

/** Chance; seeded in the simulator. */
export interface Random {
  /** An unsigned 32-bit integer. */
  u32(): number;
  /** A fraction in [0, 1). */
  fraction(): number;
  /** A UUID, version 4, lower case with dashes. */
  id(): string;
}

/** Where to dial. `path` is a unix socket. */
export type Address =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly tls: TlsOptions | null }
  | { readonly kind: "unix"; readonly path: string };

/** TLS of one address. All texts are PEM. */
export interface TlsOptions {
  /** Extra certificate authorities; empty: the system's. */
  readonly caCerts: readonly string[];
  readonly cert: string | null;
  readonly key: string | null;
  /** False accepts any certificate (`ssl_cert_reqs=none`). */
  readonly verify: boolean;
  /** False accepts a valid certificate of another host (`ssl_check_hostname=false`). */
  readonly checkHostname: boolean;
}

/** A connected stream of bytes. */
export interface ByteStream {
  /** Reads into `buffer`; the number of bytes, or null at the end of the stream. */
  read(buffer: Uint8Array): Promise<number | null>;
  /** Writes all of `bytes`, in order with earlier writes. The caller keeps the buffer untouched until it resolves. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the stream; pending reads and writes fail. Twice is once. */
  close(): void;
}

/** Opens streams. */
export interface Dialer {
  /** Connects, or rejects with `DialError` (base/errors.ts) that names the address. */
  dial(address: Address, options: { timeoutMs: number; signal?: AbortSignal }): Promise<ByteStream>;
}

/** Where HTTP is served. `path` is a unix socket; TLS texts are PEM. Port 0: any that is free. */
export type HttpAddress =
  | {
    readonly kind: "tcp";
    readonly host: string;
    readonly port: number;
    readonly tls: { readonly cert: string; readonly key: string } | null;
    /** TLS: takes over the port of a server of ours that still has it. Default false: a taken port is an error. */
    readonly isRenewal?: boolean;
  }
  | { readonly kind: "unix"; readonly path: string };

/** Answers a request. `peer` is the address it came from; null: a unix socket. Never rejects. */
export type HttpHandler = (request: Request, peer: string | null) => Response | Promise<Response>;

/** A server of HTTP that listens. */
export interface HttpServer {
  /** The port that it got; 0 for a unix socket. */
  readonly port: number;
  /** Accepts no more; resolves when every request is answered, for which streams must have ended. Twice is once. */
  close(): Promise<void>;
}

/** Serves HTTP. */
export interface Listener {
  /** Listens, or throws the system's error. A unix socket is for its user alone (0600). */
  serve(address: HttpAddress, handler: HttpHandler): HttpServer;
}

/** A signal of the operating system, by name. */
export type SignalName =
  | "SIGABRT"
  | "SIGALRM"
  | "SIGCHLD"
  | "SIGCONT"
  | "SIGHUP"
  | "SIGINT"
  | "SIGKILL"
  | "SIGPIPE"
  | "SIGQUIT"
  | "SIGSTOP"
  | "SIGTERM"
  | "SIGTRAP"
  | "SIGTSTP"
  | "SIGTTIN"
  | "SIGTTOU"
  | "SIGUSR1"
  | "SIGUSR2";

/** A running child process. */
export interface ChildProcess {
  readonly pid: number;
  /** Resolves once when it has ended. `signal` is a name such as "SIGKILL", or null. */
  readonly ended: Promise<{ code: number; signal: string | null }>;
  readonly stdout: ReadableStream<Uint8Array> | null;
  readonly stderr: ReadableStream<Uint8Array> | null;
  readonly stdin: WritableStream<Uint8Array> | null;
  /** True where the operating system ends it with us (`SpawnOptions.diesWithParent`); else it must watch by itself. */
  readonly diesWithParent?: boolean;
  /** Sends a signal; a process that has ended already is not an error. */
  kill(signal: SignalName): void;
  /** Whoever started it is done with it and its group (`ownGroup`): what is left of the group may live on. */
  release?(): void;
}

/** How to start a child. */
export interface SpawnOptions {
  readonly args: readonly string[];
  readonly cwd?: string;
  /** Added to our own environment unless `clearEnv`. */
  readonly env?: Record<string, string>;
  readonly clearEnv?: boolean;
  readonly stdin?: "piped" | "null" | "inherit";
  readonly stdout?: "piped" | "null" | "inherit";
  readonly stderr?: "piped" | "null" | "inherit";
  /** A session of its own that outlives us. */
  readonly detached?: boolean;
  /** A process group of its own, which `kill` then reaches as a whole. It does not outlive us by that. */
  readonly ownGroup?: boolean;
  /** Out of reach of signals that are sent to our process group; `kill` reaches this one process. */
  readonly ownSession?: boolean;
  /** Asks that it be killed when we die, however we die (Linux with setpriv: PR_SET_PDEATHSIG); see ChildProcess. */
  readonly diesWithParent?: boolean;
}

/** How to start this program again. */
export interface SelfOptions extends SpawnOptions {
  /** It is to be a slot of a pool, and starts from a module that loads less than the program's own. */
  readonly isSlot?: boolean;
  /** Its imports by `import()` are loaded when they are called; false: with the program, as sandboxes need it. */
  readonly isLazy?: boolean;
}

/** Starts processes. */
export interface Spawner {
  /** Starts a program by path or name. Throws where it cannot be started. */
  spawn(program: string, options: SpawnOptions): ChildProcess;
  /** Starts this program again with other arguments, whether it runs compiled, extracted or under `deno run`. */
  spawnSelf(options: SelfOptions): ChildProcess;
  /** Kills every process of a group that somebody else started (`ownGroup`); one that is gone is not an error. */
  killGroup?(pid: number): void;
}

/**
 * The person's terminal. Callers end their lines; control characters in a text are escaped (shown.ts), so that no text
 * from outside drives the terminal.
 */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Writes a text with escape sequences of our own. Whatever in it comes from outside went through `shown`. */
  styled(text: string): void;
  /** Width in columns; 80 where unknown. */
  readonly columns: number;
  readonly outIsTty: boolean;
  readonly inIsTty: boolean;
  /** Asks on the terminal; null at the end of input. */
  prompt(question: string): string | null;
}

/** Resource use of this process since its start. */
export interface ResourceUsage {
  readonly userMs: number;
  readonly systemMs: number;
  readonly maxRssKib: number;
  readonly minorFaults: number;
  readonly majorFaults: number;
  readonly blocksRead: number;
  readonly blocksWritten: number;
  readonly voluntarySwitches: number;
  readonly involuntarySwitches: number;
}

/** Facts of the host. */
export interface Host {
  /** The full host name, e.g. "web1.example.org". */
  readonly hostname: string;
  readonly pid: number;
  readonly cpus: number;
  readonly platform: string;
  /** 1, 5 and 15 minute load; zeros where unknown. */
  loadavg(): [number, number, number];
  /** Resident memory of this process, in bytes. */
  rssBytes(): number;
  /** What getrusage tells, where it can be had. */
  resourceUsage?(): ResourceUsage;
  /** Seconds since the machine started, where it tells. */
  uptimeSeconds?(): number;
  /** A variable of the environment, or null. */
  env(name: string): string | null;
  /** What a path is, links followed; null where there is nothing. Throws the system's error where it cannot tell. */
  fileKind(path: string): "file" | "folder" | null;
  readonly cwd: string;
}

/** Everything outside. */
export interface World {
  readonly clock: Clock;
  readonly random: Random;
  readonly dialer: Dialer;
  readonly listener: Listener;
  readonly spawner: Spawner;
  readonly terminal: Terminal;
  readonly host: Host;
  readonly log: Log;
  /** True in the npm package's library: it runs no tasks, so a broker in its own memory reaches no worker. */
  readonly isClientOnly?: boolean;
}
