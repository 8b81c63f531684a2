/** The real World with a terminal and a log that keep their text, for tests with real servers and files. */

import { type Host, type World } from "../../lib/base/mod.ts";
import { realWorld } from "../../lib/platform/mod.ts";
import { RecordingLog, TextTerminal } from "./fake_world.ts";

/** A real World whose terminal and log can be inspected. */
export interface RealTestWorld extends World {
  readonly terminal: TextTerminal;
  readonly log: RecordingLog;
}

/** Makes such a World; `env` overrides the real environment. */
export function realTestWorld(options: { env?: Readonly<Record<string, string>> } = {}): RealTestWorld {
  const { clock, random, dialer, listener, spawner, host: real } = realWorld();
  const env = options.env ?? {};
  const host: Host = Object.create(real, { env: { value: (name: string) => env[name] ?? real.env(name) } });
  const outside = { clock, random, dialer, listener, spawner, host };
  return { ...outside, terminal: new TextTerminal(), log: new RecordingLog(clock) };
}
