/** How a slot comes up, in a process or an isolate: its World, its console, its app, its engine. */

import {
  errorText,
  type Level,
  LevelLog,
  LEVELS,
  type Log,
  type LogContext,
  UsageError,
  userStack,
  type World,
} from "../../base/mod.ts";
import { shrinkHeap } from "../../platform/mod.ts";
import { errorTypeName, toJson } from "../../wire/mod.ts";
import { SlotEngine, type SlotPort } from "./engine.ts";
import { encodeFrame, FRAME } from "../link/frame.ts";
import type { JournalWriter } from "../link/journal.ts";
import { captureConsole, describeStray, type Label } from "./redirect.ts";
import type { OpenRunner, RunnerHost, SlotRunner } from "../runner.ts";
import type { SlotInit, StartFailure } from "../link/slot_message.ts";

/** Milliseconds without work after which a slot gives back what loading took. */
const SETTLE_MS = 300;

/**
 * Starts a slot: its engine takes frames when this resolves. A failed start is told to the parent; then null.
 * `memoryKib` measures what `maxMemoryPerChild` is compared with.
 */
export async function startSlot(
  world: World,
  init: SlotInit,
  port: SlotPort,
  options: {
    journal: JournalWriter | null;
    memoryKib: () => number;
    openRunner: OpenRunner;
    begun?: SharedArrayBuffer | undefined;
  },
): Promise<SlotEngine | null> {
  const engine = new SlotEngine(world, port, {
    isConcurrent: init.isConcurrent,
    journal: options.journal,
    memoryKib: init.reportMemory ? options.memoryKib : null,
    ...(options.begun === undefined ? {} : { begun: new Int32Array(options.begun) }),
  });
  let runner: SlotRunner | null = null;
  const label: Label = () => runner?.current() ?? null;
  const slotWorld = slotWorldOf(world, new SlotLog(engine, label, init.child.logLevel), engine);
  const { printLevel } = init.child;
  if (printLevel !== null) captureConsole(label, (text, task) => engine.log(printLevel, text, task), true);
  const onStray = (event: Event) => {
    event.preventDefault();
    const { text, task } = describeStray(event, label, (thrown) => runner?.ofError?.(thrown) ?? null);
    engine.log("ERROR", text, task);
  };
  globalThis.addEventListener("error", onStray);
  globalThis.addEventListener("unhandledrejection", onStray);
  try {
    runner = await options.openRunner(slotWorld, init.child, engine);
    engine.start(runner);
  } catch (error) {
    engine.flush();
    port.send(encodeFrame(FRAME.failed, toJson(startFailure(error))));
    return null;
  }
  settleLater(world, engine);
  return engine;
}

/**
 * Not amid work: what the heap is rid of then, code that comes to be compiled again among it, takes 30 ms of a full
 * queue's time.
 */
function settleLater({ clock }: Pick<World, "clock">, engine: SlotEngine): void {
  const before = engine.framesTaken;
  clock.arm(clock.monoMs() + SETTLE_MS, () => {
    if (engine.busy > 0 || engine.framesTaken > before) settleLater({ clock }, engine);
    else shrinkHeap();
  });
}

function startFailure(error: unknown): StartFailure {
  const name = error instanceof Error ? errorTypeName(error) : "Error";
  const message = errorText(error);
  if (error instanceof UsageError) return { text: error.message, exitCode: error.exitCode, name, message };
  // The stack is the user's own where their module threw.
  return { text: userStack(error), exitCode: null, name, message };
}

/** The slot's World: its log is the worker's, and the worker knows which process groups it has. */
function slotWorldOf(world: World, log: Log, engine: SlotEngine): World {
  const { spawner } = world;
  return {
    clock: world.clock,
    random: world.random,
    dialer: world.dialer,
    listener: world.listener,
    spawner: {
      spawn(program, options) {
        const child = spawner.spawn(program, options);
        if (!options.ownGroup) return child;
        engine.group(child.pid, true);
        // A group outlives its first process: the task that it belongs to says when it is done with it.
        return { ...child, release: () => engine.group(child.pid, false) };
      },
      spawnSelf: (options) => spawner.spawnSelf(options),
    },
    terminal: world.terminal,
    host: world.host,
    log,
  };
}

/** The worker's log, from within a slot. */
class SlotLog extends LevelLog {
  readonly #host: RunnerHost;
  readonly #label: Label;

  constructor(host: RunnerHost, label: Label, level: string) {
    const name = level.toUpperCase();
    super(name in LEVELS ? name as Level : "WARNING");
    this.#host = host;
    this.#label = label;
  }

  emit(level: Level, message: string, context?: LogContext): void {
    if (this.isOn(level)) {
      this.#host.log(level, message, context === undefined ? this.#label() : context.task ?? null);
    }
  }
}
