/** The World on Node's modules. */

import { OperatingError, setStartFolder, shown, type Terminal, type World } from "../../base/mod.ts";
import { nodeDialer } from "../../net/mod.ts";
import { realClock } from "../clock.ts";
import { realRandom } from "../random.ts";
import { nodeHost } from "./node_host.ts";
import { nodeLog } from "./node_log.ts";
import { nodeSpawner } from "./node_spawner.ts";

/** Builds a World on Node's modules. Opens nothing yet. */
export function nodeWorld(): World {
  try {
    setStartFolder(process.cwd());
  } catch {
    // The folder was removed: stack frames keep the paths as the runtime shows them.
  }
  return {
    clock: realClock(),
    random: realRandom(),
    dialer: nodeDialer(),
    listener: {
      serve(): never {
        throw new OperatingError("Cannot serve HTTP: it is not part of the npm package's library");
      },
    },
    spawner: nodeSpawner(),
    terminal: nodeTerminal(),
    host: nodeHost(),
    log: nodeLog((text) => void process.stderr.write(text)),
    isClientOnly: true,
  };
}

function nodeTerminal(): Terminal {
  return {
    out: (text) => void process.stdout.write(shown(text)),
    err: (text) => void process.stderr.write(shown(text)),
    styled: (text) => void process.stdout.write(text),
    get columns() {
      return process.stdout.columns ?? 80;
    },
    get outIsTty() {
      return process.stdout.isTTY ?? false;
    },
    get inIsTty() {
      return process.stdin.isTTY ?? false;
    },
    prompt: () => null,
  };
}
