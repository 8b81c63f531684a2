/**
 * Child processes as slots: this program started again with `pool-child`, talking over one unix socket each.
 *
 * The worker listens on an abstract socket (Linux: no file is ever made) or in a private folder. Any local user can
 * reach an abstract one, or take its name once the worker is gone: so both ends prove themselves by what stands in
 * the child's environment, which only its user can read, and of who has not only the bytes of a proof are read. What
 * a child prints is captured: it goes to the log under the child's name, as Celery's redirected output does, or where
 * the worker prints, and never into the frames.
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

const LAST_WORDS_MAX = 4096;
const LINE_MAX = 64 * 1024;
/** Milliseconds a stranger's connection may stay silent. */
const HELLO_MS = 5000;
/** The largest hello, in bytes: nothing else is read of who has not shown a token. */
const HELLO_BYTES_MAX = 128;
/** Connections without a token, beyond the children that are waited for; one more, and the oldest is closed. */
const STRANGERS_MAX = 64;

/** Makes the factory; nothing listens before the first `open` or `startAhead`. */
export function processLinks(world: World): ProcessLinks {
  return new ProcessLinks(world);
}

/** A process that was started: what it will show and be shown, and itself, or why there is none. */
interface Started {
  readonly token: string;
  readonly proof: string;
  readonly child: ChildProcess | Error;
}

/** Starts processes that talk to this one. */
export class ProcessLinks implements LinkFactory {
  #world: World;
  #server: Listener | null = null;
  #path: string | null = null;
  #folder: string | null = null;
  #waiting = new Map<string, ProcessLink>();
  /** Connections that have shown no token yet, the oldest first. */
  #strangers = new Set<ByteStream>();
  /** Started before anyone knew what for. */
  #ahead: Started | null = null;
  /** Gives its connection away, where it has come and shown its token before it was asked for. */
  #claim: ((link: ProcessLink) => void) | null = null;

  /** `world` is where the processes belong. */
  constructor(world: World) {
    this.#world = world;
  }

  /** Starts the process of the first `open` now: it loads while this one finds out what it shall do. */
  startAhead(): void {
    this.#ahead ??= this.#start(true);
  }

  open(init: Omit<SlotInit, "watchParent">, events: LinkEvents): Link {
    const isLazy = init.child.hasNoSandbox === true;
    if (!isLazy) void this.#dropAhead();
    const { token, proof, child } = this.#ahead ?? this.#start(isLazy);
    const claim = this.#claim;
    this.#ahead = null;
    this.#claim = null;
    const link = new ProcessLink(this.#world, init, events, () => this.#waiting.delete(token));
    if (claim === null) this.#waiting.set(token, link);
    link.begin(child, proof);
    claim?.(link);
    return link;
  }

  async close(): Promise<void> {
    const ahead = this.#dropAhead();
    this.#server?.close();
    this.#server = null;
    this.#path = null;
    for (const stranger of this.#strangers) stranger.close();
    if (this.#folder !== null) nodeFs().rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = null;
    await ahead;
  }

  /** Ends the process that was started ahead; resolves when it is gone. */
  async #dropAhead(): Promise<void> {
    const child = this.#ahead?.child;
    this.#ahead = null;
    this.#claim = null;
    if (child === undefined || child instanceof Error) return;
    child.kill("SIGKILL");
    await Promise.all([child.stdout?.cancel(), child.stderr?.cancel(), child.ended]);
  }

  /** `isLazy`: it can start no sandboxes (ChildInit.hasNoSandbox). */
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

  /** Where it listens. Before any child is started: its arguments show the name, and somebody else could take it. */
  #address(): string {
    if (this.#path !== null) return this.#path;
    const name = `lovage-${this.#world.random.id()}`;
    if (this.#world.host.platform.startsWith("Linux")) {
      // Abstract: a NUL, which cannot stand in an argument, so the child is told "@".
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
      // A broken listener shows as children that cannot come up; the error itself has nobody else to go to.
      this.#world.log.error(`Cannot listen for pool processes: ${errorText(error)}`);
    };
    try {
      const name = path.startsWith("@") ? `\0${path.slice(1)}` : path;
      this.#server = listenUnix(name, (stream) => void this.#greet(stream), fail);
    } catch (error) {
      fail(error);
    }
  }

  /** A connection is nobody's until it has shown a token that is waited for. */
  async #greet(stream: ByteStream): Promise<void> {
    const token = await this.#hello(stream);
    const waiting = token === null ? undefined : this.#waiting.get(token);
    const isEarly = token !== null && token === this.#ahead?.token;
    if (waiting === undefined && !isEarly) return stream.close();
    const pump = new Pump(stream);
    let link: ProcessLink | null = null;
    const claim = (owner: ProcessLink): void => {
      // One that went while nobody wanted it has ended: its owner hears so from the process.
      if (pump.isClosed) return;
      link = owner;
      owner.connect(pump);
    };
    if (waiting === undefined) this.#claim = claim;
    else {
      this.#waiting.delete(token!);
      claim(waiting);
    }
    // A child says nothing before it was told what to do.
    await pump.run((bytes) => link === null ? pump.close() : link.onBytes(bytes));
    // Assigned within the callback, which the compiler does not follow.
    (link as ProcessLink | null)?.onClosed();
  }

  /** The token that a new connection shows; null where it says anything else, too much, or nothing in time. */
  async #hello(stream: ByteStream): Promise<string | null> {
    const strangers = this.#strangers;
    strangers.add(stream);
    if (strangers.size > STRANGERS_MAX + this.#waiting.size) {
      const oldest = strangers.values().next().value!;
      strangers.delete(oldest);
      oldest.close();
    }
    const { clock } = this.#world;
    const disarm = clock.arm(clock.monoMs() + HELLO_MS, () => stream.close());
    try {
      return await readHello(stream);
    } catch {
      return null; // Not a child of ours, or it was closed.
    } finally {
      disarm();
      strangers.delete(stream);
    }
  }
}

/** Reads one hello and nothing behind it. Rejects at the first bytes that cannot be one. */
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
  /** Where the child was asked to make one, until it has. */
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
  #lastWords = "";
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

  /** `proof`: what tells the child that it talks to its worker. */
  begin(child: ChildProcess | Error, proof: string): void {
    if (child instanceof Error) {
      this.#lastWords = errorText(child);
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
      for (const line of this.#lastWords.split("\n")) this.#onLine(line, (text) => terminal.err(text));
      this.#lastWords = "";
    }
    try {
      this.#events.onBytes(bytes);
    } catch (error) {
      this.#world.log.error(`Process '${this.#init.name}' sent what cannot be read: ${errorText(error)}`);
      this.kill("SIGKILL");
    }
  }

  onClosed(): void {
    this.#isClosed = true;
    // A child that lives without its socket is of no use to anyone.
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

  /** Only when the process is gone, its socket read to the end and its last lines captured. */
  #report(): void {
    if (this.#end === null || !this.#isClosed || this.#openStreams > 0 || this.#isReported) return;
    this.#isReported = true;
    const end: SlotEnd = { ...this.#end, lastWords: this.#lastWords.trim() };
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
      // The pipe broke with its process, whose end is reported by itself.
    }
    if (rest !== "") this.#onLine(rest, print);
    this.#openStreams--;
    this.#report();
  }

  #onLine(line: string, print: (text: string) => void): void {
    const { printLevel } = this.#init.child;
    // What it says before it is connected belongs to the error of its start.
    if (!this.#isReady) this.#lastWords = (this.#lastWords + line + "\n").slice(-LAST_WORDS_MAX);
    else if (printLevel === null) print(`${line}\n`);
    else if (line.trim() !== "") {
      this.#world.log.emit(printLevel, line, { process: this.#init.name, pid: this.pid });
    }
  }
}
