/**
 * The program as a slot of a process pool: what `pool-child` runs.
 *
 * Connects to the given socket, shows its token, handles frames until the stream ends, and exits. The end of
 * the stream means that the worker has ended; then nothing that runs here matters any more.
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
/** Milliseconds between checks whether the parent lives, on systems that do not signal its death. */
const WATCH_MS = 1000;

/**
 * Runs the slot until its worker has finished with it. Resolves with the exit code; never rejects. `args`:
 * the socket, "@name" for an abstract one. `openRunner` and `entry` replace the runner and the entry module
 * of isolates, for tests.
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
  // The worker must know which signals user code handles before it sends one to this process.
  leaveSignalsToParent((name) => slot?.send(encodeFrame(FRAME.listens, name)));
  // Load it while the worker is busy with its own start, before the init frame arrives.
  if (openRunner === undefined) void import("./child.ts");
  const path = address.startsWith("@") ? `\0${address.slice(1)}` : address;
  const stream = await dialParent(world, path);
  if (stream === null) return 1; // The worker has ended, so nothing is reported.
  slot = new ChildProcessSlot(world, stream, entry);
  return await slot.run(readTokenText(given), openRunner);
}

/**
 * Dials the worker, again and again for DIAL_MS, since a refusal may be temporary: the system's queue of
 * unaccepted connections is short. Null if it does not succeed.
 */
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
          // Another program may have taken the name of a worker that has ended; it must not decide what runs
          // here.
          if (frame.type !== FRAME.init || frame.text !== proof) return this.#pump.close();
          isStarted = true;
          void this.#start(fromTypedJson(frame.head) as SlotInit, openRunner);
        });
      }
    });
    // The worker has ended.
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
    // A task that calls Deno.exit ends the process; unsent frames are sent first.
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

/** Ends this process when its parent has died, even from a busy loop: a separate isolate checks. */
function watchParent(): void {
  const code =
    `const p = Deno.ppid; setInterval(() => Deno.ppid === p || Deno.kill(Deno.pid, "SIGKILL"), ${WATCH_MS});`;
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(code)}`, { type: "module" });
  // If it fails, the slot still works while its worker lives.
  worker.onerror = (event) => event.preventDefault();
}
