/** The real World, for main.ts, lib/mod.ts and pool slots. */

import { setStartFolder, type World } from "../base/mod.ts";
import { realDialer, realListener } from "../net/mod.ts";
import { realClock } from "./clock.ts";
import { START_FOLDER } from "./detach.ts";
import { realHost } from "./host.ts";
import { type LogSink, openLogSink } from "./log_sink.ts";
import { realRandom } from "./random.ts";
import { realSpawner } from "./spawn.ts";
import { realTerminal } from "./terminal.ts";
import { applyTimeZone } from "./time_zone.ts";

/** A World whose log can be configured. */
export interface RealWorld extends World {
  readonly log: LogSink;
}

/**
 * Builds a World on the operating system. Opens nothing yet. Sets TZ if the runtime cannot read it
 * (time_zone.ts).
 */
export function realWorld(): RealWorld {
  applyTimeZone();
  setStartFolder(START_FOLDER);
  const clock = realClock();
  return {
    clock,
    random: realRandom(),
    dialer: realDialer(),
    listener: realListener(),
    spawner: realSpawner(),
    terminal: realTerminal(),
    host: realHost(),
    log: openLogSink(clock),
  };
}
