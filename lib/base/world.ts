/**
 * Everything outside the program as one value: clock, chance, sockets, processes, terminal, host and log.
 *
 * Only `platform/` and `net/` use the runtime's globals for time, timers, sockets and processes. `main.ts`
 * builds the real World (platform/real_world.ts), tests build one of doubles (tests/support/fake_world.ts),
 * and the same code runs on both.
 */

import type { Log } from "./log.ts";

/** Disarms one `Clock.arm`. A second call, or one after the timer fired, does nothing. */
export type Disarm = () => void;

/** Time and timers. */
export interface Clock {
  /**
   * Returns milliseconds of a clock that never goes back and whose zero is arbitrary. For durations and
   * deadlines.
   */
  monoMs(): number;
  /** Returns milliseconds since the Unix epoch, possibly with a fraction. For stamps on the wire. */
  wallMs(): number;
  /** Calls `fn` once when `monoMs()` reaches `atMonoMs`, or in the next turn if it already has. */
  arm(atMonoMs: number, fn: () => void): Disarm;
  /** Resolves after `ms` milliseconds. Rejects with the signal's reason if it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `fn` once at the end of the current turn, after I/O callbacks that are already queued. */
  defer(fn: () => void): void;
}

/** Random values; seeded in the simulator. */
export interface Random {
  /** Returns an unsigned 32-bit integer. */
  u32(): number;
  /** Returns a fraction in [0, 1). */
  fraction(): number;
  /** Returns a UUID, version 4, lower case with dashes. */
  id(): string;
}

/** The address to dial. `path` is a unix socket. */
export type Address =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly tls: TlsOptions | null }
  | { readonly kind: "unix"; readonly path: string };

/** The TLS options of one address. All texts are PEM. */
export interface TlsOptions {
  /**
   * Certificate authorities; empty: the default ones. Deno trusts the default ones in addition, node:tls does
   * not.
   */
  readonly caCerts: readonly string[];
  readonly cert: string | null;
  readonly key: string | null;
  /** False accepts any certificate (`ssl_cert_reqs=none`). */
  readonly verify: boolean;
  /** False accepts a valid certificate for another host (`ssl_check_hostname=false`). */
  readonly checkHostname: boolean;
}

/** A connected stream of bytes. */
export interface ByteStream {
  /**
   * Reads into `buffer`. Resolves with the number of bytes, or null at the end of the stream. Rejects if the
   * connection fails.
   */
  read(buffer: Uint8Array): Promise<number | null>;
  /**
   * Writes all of `bytes`, in order with earlier writes. The caller must not change the buffer until it
   * resolves. Rejects if the connection fails or is closed.
   */
  write(bytes: Uint8Array): Promise<void>;
  /** Closes the stream. A pending write fails; a pending read fails or resolves with null. Idempotent. */
  close(): void;
}

/** Opens streams. */
export interface Dialer {
  /** Connects. Rejects with `DialError` (base/errors.ts), which names the address. */
  dial(address: Address, options: { timeoutMs: number; signal?: AbortSignal }): Promise<ByteStream>;
}

/** The address on which HTTP is served. `path` is a unix socket; TLS texts are PEM. Port 0: any free port. */
export type HttpAddress =
  | {
    readonly kind: "tcp";
    readonly host: string;
    readonly port: number;
    readonly tls: { readonly cert: string; readonly key: string } | null;
    /**
     * With TLS: takes over the port from a server of this program that still has it. Default false: a taken
     * port is an error.
     */
    readonly isRenewal?: boolean;
  }
  | { readonly kind: "unix"; readonly path: string };

/** Answers a request. `peer` is the client's address; null on a unix socket. Never rejects. */
export type HttpHandler = (request: Request, peer: string | null) => Response | Promise<Response>;

/** A listening HTTP server. */
export interface HttpServer {
  /** The port that it listens on; 0 for a unix socket. */
  readonly port: number;
  /**
   * Accepts no more requests. Resolves when every request is answered, including streamed responses.
   * Idempotent.
   */
  close(): Promise<void>;
}

/** Serves HTTP. */
export interface Listener {
  /**
   * Listens on an address. Throws the system's error. A unix socket is accessible only to its user (0600).
   */
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
  /** Resolves when the process has ended. `signal` is a name such as "SIGKILL", or null. */
  readonly ended: Promise<{ code: number; signal: string | null }>;
  readonly stdout: ReadableStream<Uint8Array> | null;
  readonly stderr: ReadableStream<Uint8Array> | null;
  readonly stdin: WritableStream<Uint8Array> | null;
  /**
   * True if the operating system kills the child when this process dies (`SpawnOptions.diesWithParent`). Else
   * the child must watch its parent itself.
   */
  readonly diesWithParent?: boolean;
  /** Sends a signal. Does nothing if the process has ended. */
  kill(signal: SignalName): void;
  /** Gives up the child and its group (`ownGroup`): processes left in the group may live on. */
  release?(): void;
}

/** Options for starting a child. */
export interface SpawnOptions {
  readonly args: readonly string[];
  readonly cwd?: string;
  /** Added to this process's environment; with `clearEnv` it is the child's whole environment. */
  readonly env?: Record<string, string>;
  readonly clearEnv?: boolean;
  readonly stdin?: "piped" | "null" | "inherit";
  readonly stdout?: "piped" | "null" | "inherit";
  readonly stderr?: "piped" | "null" | "inherit";
  /** Starts the child in a session of its own that outlives this process. */
  readonly detached?: boolean;
  /**
   * Starts the child in a process group of its own; `kill` then reaches the whole group. The group does not
   * outlive this process for that reason.
   */
  readonly ownGroup?: boolean;
  /**
   * Starts the child in a session of its own, so that signals to our process group do not reach it. `kill`
   * reaches only this process.
   */
  readonly ownSession?: boolean;
  /**
   * Asks the system to kill the child when this process dies for any reason (Linux with setpriv:
   * PR_SET_PDEATHSIG). `ChildProcess.diesWithParent` says whether it will.
   */
  readonly diesWithParent?: boolean;
}

/** Options for starting this program again. */
export interface SelfOptions extends SpawnOptions {
  /** Starts a slot of a pool, from a module that loads less than the program's main module. */
  readonly isSlot?: boolean;
  /**
   * Loads modules of `import()` when it is called. False: loads them with the program, as sandboxes need it.
   */
  readonly isLazy?: boolean;
}

/** Starts processes. */
export interface Spawner {
  /** Starts a program by path or name. Throws if it cannot be started. */
  spawn(program: string, options: SpawnOptions): ChildProcess;
  /** Starts this program again with other arguments, in any form: compiled, unpacked or under `deno run`. */
  spawnSelf(options: SelfOptions): ChildProcess;
  /**
   * Kills every process of a group that another process started (`ownGroup`). Does nothing if the group is
   * gone.
   */
  killGroup?(pid: number): void;
}

/**
 * The user's terminal. Callers end their lines. Control characters in a text are escaped (shown.ts), so that
 * text from outside cannot control the terminal.
 */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /**
   * Writes a text with our own escape sequences. Callers must pass every part that comes from outside through
   * `shown`.
   */
  styled(text: string): void;
  /** Width in columns; 80 if unknown. */
  readonly columns: number;
  readonly outIsTty: boolean;
  readonly inIsTty: boolean;
  /** Asks a question on the terminal. Returns the answer, or null at the end of input. */
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

/** Facts about the host and this process. */
export interface Host {
  /** The full host name, e.g. "web1.example.org". */
  readonly hostname: string;
  readonly pid: number;
  readonly cpus: number;
  readonly platform: string;
  /** Returns the load of the last 1, 5 and 15 minutes; zeros if unknown. */
  loadavg(): [number, number, number];
  /** Returns the resident memory of this process in bytes. */
  rssBytes(): number;
  /** Returns the values of getrusage. Absent if the platform has no such call. */
  resourceUsage?(): ResourceUsage;
  /** Returns the seconds since the machine started. Absent if unknown. */
  uptimeSeconds?(): number;
  /** Returns a variable of the environment, or null. */
  env(name: string): string | null;
  /**
   * Returns what a path is, following links; null if nothing is there. Throws the system's error if it cannot
   * find out.
   */
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
  /**
   * True in the npm package's library. It runs no tasks, so a broker in its own memory would reach no worker.
   */
  readonly isClientOnly?: boolean;
}
