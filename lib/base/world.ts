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
  /** Sends a signal; a process that has ended already is no error. */
  kill(signal: Deno.Signal): void;
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
  /** Kills every process of a group that somebody else started (`ownGroup`); one that is gone is no error. */
  killGroup?(pid: number): void;
}

/** The person's terminal. Text goes out as given: callers end their lines. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Width in columns; 80 where unknown. */
  readonly columns: number;
  readonly outIsTty: boolean;
  readonly errIsTty: boolean;
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
  readonly spawner: Spawner;
  readonly terminal: Terminal;
  readonly host: Host;
  readonly log: Log;
}
