/**
 * The program as a slot of a process pool: what `pool-child` runs.
 *
 * It connects to the socket it was told, shows its token, takes frames until the stream ends, and goes. The
 * end of the stream is the end of the worker: then nothing that runs here matters to anybody.
 */

import { type ByteStream, type World } from "../../base/mod.ts";
import { leaveSignalsToParent } from "../../platform/mod.ts";
import { fromTypedJson } from "../../wire/mod.ts";
import type { SlotEngine, SlotPort } from "./engine.ts";
import { encodeFrame, FRAME, FrameReader } from "../link/frame.ts";
import { Pump } from "../link/pump.ts";
import type { OpenRunner } from "../runner.ts";
import { readTokenText, type SlotInit, TOKEN_VARIABLE } from "../link/slot_message.ts";
import { startSlot } from "./slot_start.ts";

const DIAL_MS = 10_000;
const DIAL_AGAIN_MS = 10;
/** Milliseconds between two looks whether the parent lives, where the operating system does not look. */
const WATCH_MS = 1000;

/**
 * Runs the slot until its worker is done with it; resolves with the exit code. `args`: the socket, "@name"
 * for an abstract one. `openRunner` and `entry` stand in for what slots run and isolates begin with. Never rejects.
 */
export async function runPoolChild(
  world: World,
  args: string[],
  openRunner?: OpenRunner,
  entry?: URL,
): Promise<number> {
  const address = args[0];
  const given = world.host.env(TOKEN_VARIABLE);
  if (address === undefined || given === null) {
    world.terminal.err("pool-child is started by a worker\n");
    return 64;
  }
  let slot: ChildProcessSlot | null = null;
  // What user code listens to, the worker has to know before it ends this process by that signal.
  leaveSignalsToParent((name) => slot?.send(encodeFrame(FRAME.listens, name)));
  // Loaded while the worker is busy with its own start, before it tells what to run.
  if (openRunner === undefined) void import("./child.ts");
  const path = address.startsWith("@") ? `\0${address.slice(1)}` : address;
  const stream = await dialParent(world, path);
  if (stream === null) return 1; // The worker is gone; there is nobody to tell.
  slot = new ChildProcessSlot(world, stream, entry);
  return await slot.run(readTokenText(given), openRunner);
}

/** A refusal may pass: the system keeps few connections that the worker has not accepted, whoever made them. */
async function dialParent(world: World, path: string): Promise<ByteStream | null> {
  const end = world.clock.monoMs() + DIAL_MS;
  do {
    try {
      return await world.dialer.dial({ kind: "unix", path }, { timeoutMs: DIAL_MS });
    } catch {
      await world.clock.sleep(DIAL_AGAIN_MS);
    }
  } while (world.clock.monoMs() < end);
  return null;
}

class ChildProcessSlot implements SlotPort {
  #world: World;
  #pump: Pump;
  #entry: URL | undefined;
  #engine: Pick<SlotEngine, "feed" | "flush"> | null = null;
  /** Bytes that arrived before the engine was there. */
  #early: Uint8Array[] = [];
  #exit = Promise.withResolvers<number>();

  constructor(world: World, stream: ByteStream, entry?: URL) {
    this.#world = world;
    this.#pump = new Pump(stream);
    this.#entry = entry;
  }

  async run(
    { token, proof }: { token: string; proof: string },
    openRunner: OpenRunner | undefined,
  ): Promise<number> {
    this.send(encodeFrame(FRAME.hello, token));
    void this.#read(proof, openRunner);
    const code = await this.#exit.promise;
    this.#pump.close();
    return code;
  }

  send(bytes: Uint8Array): void {
    this.#pump.send(bytes);
  }

  drained(): Promise<void> | null {
    return this.#pump.drained();
  }

  onStopped(): void {
    this.#exit.resolve(0);
  }

  async #read(proof: string, openRunner: OpenRunner | undefined): Promise<void> {
    const first = new FrameReader();
    let isStarted = false;
    await this.#pump.run((bytes) => {
      if (this.#engine !== null) this.#engine.feed(bytes);
      else if (isStarted) this.#early.push(bytes.slice());
      else {
        first.feed(bytes, (frame) => {
          if (isStarted) return this.#early.push(encodeFrame(frame.type, frame.head, frame.text, frame.tail));
          // Whoever has taken the name of a worker that is gone cannot say what to run.
          if (frame.type !== FRAME.init || frame.text !== proof) return this.#pump.close();
          isStarted = true;
          void this.#start(fromTypedJson(frame.head) as SlotInit, openRunner);
        });
      }
    });
    // The worker is gone.
    this.#exit.resolve(0);
  }

  async #start(init: SlotInit, openRunner: OpenRunner | undefined): Promise<void> {
    const engine = init.isHost ? await this.#openHost() : await startSlot(this.#world, init, this, {
      journal: null,
      memoryKib: () => Math.ceil(this.#world.host.rssBytes() / 1024),
      openRunner: openRunner ?? (await import("./child.ts")).taskRunnerOpener({ isShared: false }),
    });
    if (engine === null) {
      await this.drained();
      this.#exit.resolve(1);
      return;
    }
    // A task that calls Deno.exit ends the process: what is unsent goes first.
    globalThis.addEventListener("unload", () => engine.flush());
    this.#engine = engine;
    for (const bytes of this.#early.splice(0)) engine.feed(bytes);
    if (init.watchParent) watchParent();
  }

  async #openHost(): Promise<Pick<SlotEngine, "feed" | "flush">> {
    const { ThreadHost } = await import("./thread_host.ts");
    return new ThreadHost(this.#world, (bytes) => this.send(bytes), this.#entry);
  }
}

/**
 * Ends this process, also out of a busy loop, when its parent is another than it was: an isolate of its own
 * looks.
 */
function watchParent(): void {
  const code =
    `const p = Deno.ppid; setInterval(() => Deno.ppid === p || Deno.kill(Deno.pid, "SIGKILL"), ${WATCH_MS});`;
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(code)}`, { type: "module" });
  // Without it a slot is as good while its worker lives.
  worker.onerror = (event) => event.preventDefault();
}
