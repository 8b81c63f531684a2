/** The start of a slot, in a process or an isolate: its World, its console, its app, its engine. */

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
import { captureConsole, describeUncaught, type Label } from "./redirect.ts";
import type { OpenRunner, RunnerHost, SlotRunner } from "../runner.ts";
import type { SlotInit, StartFailure } from "../link/slot_message.ts";

/** Milliseconds without work after which a slot frees the memory that loading took. */
const SETTLE_MS = 300;

/**
 * Starts a slot. Resolves with its engine, which then takes frames; or with null after a failed start, which
 * was reported to the parent. `memoryKib` measures what is compared with `maxMemoryPerChild`. Never rejects.
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
  const onUncaught = (event: Event) => {
    event.preventDefault();
    const { text, task } = describeUncaught(event, label, (thrown) => runner?.ofError?.(thrown) ?? null);
    engine.log("ERROR", text, task);
  };
  globalThis.addEventListener("error", onUncaught);
  globalThis.addEventListener("unhandledrejection", onUncaught);
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
 * Shrinks the heap when the slot is idle. Amid work it would cost a full queue 30 ms, partly because compiled
 * code is dropped and must be compiled again.
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
  // If the user's module threw, the stack is in the user's own code.
  return { text: userStack(error), exitCode: null, name, message };
}

/** Returns the slot's World: its log is the worker's log, and the worker is told of its process groups. */
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
        // A group may outlive its first process, so its task reports when the group is no longer used.
        return { ...child, release: () => engine.group(child.pid, false) };
      },
      spawnSelf: (options) => spawner.spawnSelf(options),
    },
    terminal: world.terminal,
    host: world.host,
    log,
  };
}

/** The worker's log, used from within a slot. */
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
