/** The real World: what main.ts, lib/mod.ts and pool slots run in. */

import type { World } from "../base/mod.ts";
import { realDialer } from "../net/mod.ts";
import { realClock } from "./clock.ts";
import { realHost } from "./host.ts";
import { type LogSink, openLogSink } from "./log_sink.ts";
import { realRandom } from "./random.ts";
import { realSpawner } from "./spawn.ts";
import { realTerminal } from "./terminal.ts";

/** A World whose log can be configured. */
export interface RealWorld extends World {
  readonly log: LogSink;
}

/** Builds a World on the operating system. Nothing is opened yet. */
export function realWorld(): RealWorld {
  const clock = realClock();
  return {
    clock,
    random: realRandom(),
    dialer: realDialer(),
    spawner: realSpawner(),
    terminal: realTerminal(),
    host: realHost(),
    log: openLogSink(clock),
  };
}
