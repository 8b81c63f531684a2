/**
 * Child processes as slots: this program started again with `pool-child`, connected by one unix socket each.
 *
 * The worker listens on an abstract socket (Linux: no file is created) or in a private folder. Any local user
 * can connect to an abstract socket, or take its name after the worker has ended. So both ends authenticate
 * with secrets from the child's environment, which only its user can read, and from a peer that has not
 * authenticated only the few bytes of a hello are read. A child's output is captured and never mixes with
 * frames. It goes to the log under the child's name, as Celery's redirected output does, or to the worker's
 * own output.
 */

import {
  type ByteStream,
  type ChildProcess,
  errorText,
  type SignalName,
  type World,
} from "../../base/mod.ts";
import { nodeFs, nodeOs } from "../../base/mod.ts";
import { type Listener, listenUnix } from "../../net/mod.ts";
import { toJson } from "../../wire/mod.ts";
import { encodeFrame, FRAME, type Frame, FrameReader } from "./frame.ts";
import { dropFileJournals, journalPaths, type JournalReader, openFileJournal } from "./journal.ts";
import type { Link, LinkEvents, LinkFactory, SlotEnd } from "./link.ts";
import { Pump } from "./pump.ts";
import { type SlotInit, TOKEN_VARIABLE, tokenText } from "./slot_message.ts";

const LAST_OUTPUT_MAX = 4096;
const LINE_MAX = 64 * 1024;
/** Milliseconds for which an unauthenticated connection may stay silent. */
const HELLO_MS = 5000;
/** Maximum hello, in bytes. Nothing else is read from a peer that has not shown a token. */
const HELLO_BYTES_MAX = 128;
/**
 * Maximum unauthenticated connections, beyond the children that are expected; with one more, the oldest is
 * closed.
 */
const UNIDENTIFIED_MAX = 64;

/** Makes the factory. Nothing listens before the first `open` or `startAhead`. */
export function processLinks(world: World): ProcessLinks {
  return new ProcessLinks(world);
}

/** A started process with the secrets of both ends, or the error of its start. */
interface Started {
  readonly token: string;
  readonly proof: string;
  readonly child: ChildProcess | Error;
}

/** Starts processes that connect to this one. */
export class ProcessLinks implements LinkFactory {
  #world: World;
  #server: Listener | null = null;
  #path: string | null = null;
  #folder: string | null = null;
  /** Links of children that have not connected yet, by token. */
  #waiting = new Map<string, ProcessLink>();
  /** Connections that have not shown a token yet, the oldest first. */
  #unidentified = new Set<ByteStream>();
  /** The process that was started before it was needed. */
  #ahead: Started | null = null;
  /**
   * Gives a link the connection of that process, if the process connected before the link was opened. Null:
   * it has not.
   */
  #connectAhead: ((link: ProcessLink) => void) | null = null;

  /** `world`: where the processes are started. */
  constructor(world: World) {
    this.#world = world;
  }

  /**
   * Starts the process for the first `open` now, so that it loads while this process determines what it shall
   * run.
   */
  startAhead(): void {
    this.#ahead ??= this.#start(true);
  }

  open(init: Omit<SlotInit, "watchParent">, events: LinkEvents): Link {
    const isLazy = init.child.hasNoSandbox === true;
    if (!isLazy) void this.#dropAhead();
    const { token, proof, child } = this.#ahead ?? this.#start(isLazy);
    const connect = this.#connectAhead;
    this.#ahead = null;
    this.#connectAhead = null;
    const link = new ProcessLink(this.#world, init, events, () => this.#waiting.delete(token));
    if (connect === null) this.#waiting.set(token, link);
    link.begin(child, proof);
    connect?.(link);
    return link;
  }

  async close(): Promise<void> {
    const ahead = this.#dropAhead();
    this.#server?.close();
    this.#server = null;
    this.#path = null;
    for (const stream of this.#unidentified) stream.close();
    if (this.#folder !== null) nodeFs().rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = null;
    await ahead;
  }

  /** Ends the process that was started ahead. Resolves when it has ended. */
  async #dropAhead(): Promise<void> {
    const child = this.#ahead?.child;
    this.#ahead = null;
    this.#connectAhead = null;
    if (child === undefined || child instanceof Error) return;
    child.kill("SIGKILL");
    await Promise.all([child.stdout?.cancel(), child.stderr?.cancel(), child.ended]);
  }

  /** `isLazy`: the process can start no sandboxes (ChildInit.hasNoSandbox). */
  #start(isLazy: boolean): Started {
    const address = this.#address();
    const token = this.#world.random.id();
    const proof = this.#world.random.id();
    try {
      const child = this.#world.spawner.spawnSelf({
        args: ["pool-child", address],
        env: { [TOKEN_VARIABLE]: tokenText(token, proof) },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
        diesWithParent: true,
        ownSession: true,
        isSlot: true,
        isLazy,
      });
      return { token, proof, child };
    } catch (error) {
      return { token, proof, child: error instanceof Error ? error : new Error(errorText(error)) };
    }
  }

  /**
   * Returns the socket's address. Listens before any child starts: a child's arguments show the name, and
   * another user could take it.
   */
  #address(): string {
    if (this.#path !== null) return this.#path;
    const name = `lovage-${this.#world.random.id()}`;
    if (this.#world.host.platform.startsWith("Linux")) {
      // An abstract name begins with NUL, which cannot be part of an argument, so the child gets "@" instead.
      this.#path = `@${name}`;
    } else {
      this.#folder = nodeFs().mkdtempSync(`${nodeOs().tmpdir()}/lovage-`);
      nodeFs().chmodSync(this.#folder, 0o700);
      this.#path = `${this.#folder}/pool`;
    }
    this.#listen(this.#path);
    return this.#path;
  }

  #listen(path: string): void {
    const fail = (error: unknown) => {
      // A failed listener shows as children that cannot connect; its error is reported only here.
      this.#world.log.error(`Cannot listen for pool processes: ${errorText(error)}`);
    };
    try {
      const name = path.startsWith("@") ? `\0${path.slice(1)}` : path;
      this.#server = listenUnix(name, (stream) => void this.#accept(stream), fail);
    } catch (error) {
      fail(error);
    }
  }

  /** Authenticates a new connection by its token, and gives it to the link that expects it. */
  async #accept(stream: ByteStream): Promise<void> {
    const token = await this.#hello(stream);
    const waiting = token === null ? undefined : this.#waiting.get(token);
    const isEarly = token !== null && token === this.#ahead?.token;
    if (waiting === undefined && !isEarly) return stream.close();
    const pump = new Pump(stream);
    let link: ProcessLink | null = null;
    const connect = (owner: ProcessLink): void => {
      // The connection may have closed meanwhile: then the child has ended, which its process reports.
      if (pump.isClosed) return;
      link = owner;
      owner.connect(pump);
    };
    if (waiting === undefined) this.#connectAhead = connect;
    else {
      this.#waiting.delete(token!);
      connect(waiting);
    }
    // A child sends nothing before it has received its init frame.
    await pump.run((bytes) => link === null ? pump.close() : link.onBytes(bytes));
    // The compiler does not see the assignment within the callback.
    (link as ProcessLink | null)?.onClosed();
  }

  /**
   * Returns the token that a new connection shows; null if it sends anything else, too much, or nothing in
   * time.
   */
  async #hello(stream: ByteStream): Promise<string | null> {
    const unidentified = this.#unidentified;
    unidentified.add(stream);
    if (unidentified.size > UNIDENTIFIED_MAX + this.#waiting.size) {
      const oldest = unidentified.values().next().value!;
      unidentified.delete(oldest);
      oldest.close();
    }
    const { clock } = this.#world;
    const disarm = clock.arm(clock.monoMs() + HELLO_MS, () => stream.close());
    try {
      return await readHello(stream);
    } catch {
      return null; // Not our child, or the connection was closed.
    } finally {
      disarm();
      unidentified.delete(stream);
    }
  }
}

/**
 * Reads exactly one hello frame; null if the stream ends or sends more. Rejects at the first bytes that
 * cannot be a hello.
 */
async function readHello(stream: ByteStream): Promise<string | null> {
  const reader = new FrameReader(HELLO_BYTES_MAX);
  const buffer = new Uint8Array(HELLO_BYTES_MAX);
  const heard: Frame[] = [];
  while (heard.length === 0) {
    const count = await stream.read(buffer);
    if (count === null) return null;
    reader.feed(buffer.subarray(0, count), (frame) => heard.push(frame));
  }
  const [frame] = heard;
  return heard.length === 1 && frame!.type === FRAME.hello ? frame!.head : null;
}

class ProcessLink implements Link {
  journal: JournalReader | null = null;
  /** Paths at which the child was asked to create a journal, until it has reported one. */
  #unopened: readonly string[] = [];
  #world: World;
  #init: Omit<SlotInit, "watchParent">;
  #events: LinkEvents;
  #forget: () => void;
  #child: ChildProcess | null = null;
  #socket: Pump | null = null;
  #isClosed = true;
  #unsent: Uint8Array[] = [];
  #end: { code: number; signal: string | null } | null = null;
  #isReady = false;
  #lastOutput = "";
  #openStreams = 0;
  #isReported = false;

  constructor(
    world: World,
    init: Omit<SlotInit, "watchParent">,
    events: LinkEvents,
    forget: () => void,
  ) {
    this.#world = world;
    this.#init = init;
    this.#events = events;
    this.#forget = forget;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** `proof`: the secret that shows the child that it talks to its worker. */
  begin(child: ChildProcess | Error, proof: string): void {
    if (child instanceof Error) {
      this.#lastOutput = errorText(child);
      this.#end = { code: 1, signal: null };
      this.#world.clock.defer(() => this.#report());
      return;
    }
    this.#child = child;
    const init: SlotInit = {
      ...this.#init,
      watchParent: child.diesWithParent !== true,
    };
    this.#unsent.unshift(encodeFrame(FRAME.init, toJson(init), proof));
    const { terminal } = this.#world;
    if (child.stdout !== null) void this.#capture(child.stdout, (text) => terminal.out(text));
    if (child.stderr !== null) void this.#capture(child.stderr, (text) => terminal.err(text));
    void child.ended.then((end) => {
      this.#end = end;
      this.#report();
    });
  }

  askJournal(): void {
    this.#unopened = journalPaths(this.#world);
    this.send(encodeFrame(FRAME.journal, toJson(this.#unopened)));
  }

  openJournal(path: string): void {
    this.journal = openFileJournal(path);
    this.#unopened = [];
  }

  connect(socket: Pump): void {
    this.#socket = socket;
    this.#isClosed = false;
    for (const bytes of this.#unsent) socket.send(bytes);
    this.#unsent.length = 0;
  }

  onBytes(bytes: Uint8Array): void {
    if (!this.#isReady) {
      this.#isReady = true;
      const { terminal } = this.#world;
      for (const line of this.#lastOutput.split("\n")) this.#onLine(line, (text) => terminal.err(text));
      this.#lastOutput = "";
    }
    try {
      this.#events.onBytes(bytes);
    } catch (error) {
      this.#world.log.error(`Process '${this.#init.name}' sent invalid data: ${errorText(error)}`);
      this.kill("SIGKILL");
    }
  }

  onClosed(): void {
    this.#isClosed = true;
    // A child without its socket is useless.
    if (this.#end === null) this.kill("SIGKILL");
    this.#report();
  }

  send(bytes: Uint8Array): void {
    if (this.#socket === null) this.#unsent.push(bytes);
    else if (!this.#isClosed) this.#socket.send(bytes);
  }

  kill(signal: string): void {
    this.#child?.kill(signal as SignalName);
  }

  release(): void {
    this.#socket?.close();
    this.journal?.close();
    dropFileJournals(this.#unopened);
    this.#forget();
  }

  /**
   * Reports the end when the process has ended, its socket is closed and its output has been read to the end.
   */
  #report(): void {
    if (this.#end === null || !this.#isClosed || this.#openStreams > 0 || this.#isReported) return;
    this.#isReported = true;
    const end: SlotEnd = { ...this.#end, lastOutput: this.#lastOutput.trim() };
    this.#events.onEnded(end);
  }

  async #capture(stream: ReadableStream<Uint8Array>, print: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    this.#openStreams++;
    try {
      for await (const bytes of stream) {
        rest += decoder.decode(bytes, { stream: true });
        const lines = rest.split("\n");
        rest = lines.pop()!;
        if (rest.length > LINE_MAX) {
          lines.push(rest);
          rest = "";
        }
        for (const line of lines) this.#onLine(line, print);
      }
    } catch {
      // The pipe broke because the process ended, which is reported separately.
    }
    if (rest !== "") this.#onLine(rest, print);
    this.#openStreams--;
    this.#report();
  }

  #onLine(line: string, print: (text: string) => void): void {
    const { printLevel } = this.#init.child;
    // Output before the child is ready belongs to the error of its start.
    if (!this.#isReady) this.#lastOutput = (this.#lastOutput + line + "\n").slice(-LAST_OUTPUT_MAX);
    else if (printLevel === null) print(`${line}\n`);
    else if (line.trim() !== "") {
      this.#world.log.emit(printLevel, line, { process: this.#init.name, pid: this.pid });
    }
  }
}
