/**
 * The live view on a real terminal: uses the alternate screen, reads single keys, redraws a few times a
 * second.
 *
 * events_screen.ts has the contents and the keys; this file handles the terminal and the broker.
 */

import { createLogUpdate } from "log-update";
import { errorText, type World } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import { ClusterState, EventReceiver } from "../event/mod.ts";
import { EXIT, listenSignals } from "../platform/mod.ts";
import { EventsScreen, type ScreenAction } from "./events_screen.ts";

/** Enters the alternate screen and hides the cursor; and back. */
const ENTER = "\u001b[?1049h\u001b[?25l\u001b[H\u001b[2J";
const LEAVE = "\u001b[?25h\u001b[?1049l";
/** How long to wait for replies to a command, seconds. */
const REPLY_SECONDS = 1;

/** Shows the live view until the user quits. Resolves to the exit status. */
export async function showLive(world: World, app: App, options: { everyMs: number }): Promise<number> {
  const { terminal, clock } = world;
  const state = new ClusterState({ world });
  const screen = new EventsScreen(state, {
    nowMs: () => clock.wallMs(),
    isColored: !world.host.env("NO_COLOR"),
  });
  const size = terminalSize();
  const stream = {
    isTTY: true,
    get columns() {
      return size.columns;
    },
    get rows() {
      return size.rows;
    },
    write: (text: string) => terminal.styled(text),
  };
  const update = createLogUpdate(stream as never, { showCursor: true });
  const stop = Promise.withResolvers<number>();
  const draw = (): void => update(screen.render(size.columns, size.rows - 1).join("\n"));
  const act = (action: ScreenAction | null): void => {
    if (action?.kind === "quit") stop.resolve(EXIT.OK);
    else if (action) void command(app, screen, action).then(draw);
    draw();
  };
  const unlisten = listenSignals(
    ["SIGINT", "SIGTERM"],
    (name) => stop.resolve(name === "SIGINT" ? 130 : 143),
  );
  const resized = (): void => {
    Object.assign(size, terminalSize());
    update.clear();
    terminal.styled("\u001b[2J\u001b[H");
    draw();
  };
  const takeTerminal = (): void => {
    // Switch off and on: the shell has changed the mode meanwhile, which the runtime does not know.
    Deno.stdin.setRaw(false);
    Deno.stdin.setRaw(true, { cbreak: true });
    terminal.styled(ENTER);
  };
  const giveTerminal = (): void => {
    terminal.styled(LEAVE);
    Deno.stdin.setRaw(false);
  };
  // ^Z: the shell gets its screen back, and `fg` returns here.
  const suspended = (): void => {
    update.clear();
    giveTerminal();
    Deno.kill(Deno.pid, "SIGSTOP");
  };
  const resumed = (): void => {
    takeTerminal();
    resized();
  };
  const listeners = { SIGWINCH: resized, SIGTSTP: suspended, SIGCONT: resumed } as const;
  const names = Object.keys(listeners) as (keyof typeof listeners)[];
  for (const name of names) Deno.addSignalListener(name, listeners[name]);
  takeTerminal();
  const reading = new AbortController();
  const keys = readKeys(reading.signal, (key) => act(screen.onKey(key))).catch((error: unknown) => {
    if (!reading.signal.aborted) stop.reject(error);
  });
  const ticking = tick(world, options.everyMs, reading.signal, draw);
  let receiver: EventReceiver | null = null;
  const opening = EventReceiver.open(app, {
    handlers: { "*": (event) => state.event(event) },
    onReady: (url) => {
      screen.broker = url;
      screen.notice = null;
    },
    onLost: () => screen.notice = "Connection lost, attempting reconnect",
    onAttempt: (error, seconds) => {
      screen.notice = `Cannot connect: ${errorText(error)}. Trying again in ${seconds.toFixed(2)} seconds`;
    },
  }).then((opened) => {
    receiver = opened;
    return opened.ended().then(() => EXIT.OK as number);
  });
  try {
    draw();
    return await Promise.race([stop.promise, opening]);
  } finally {
    opening.catch(() => {});
    reading.abort();
    unlisten();
    for (const name of names) Deno.removeSignalListener(name, listeners[name]);
    update.done();
    giveTerminal();
    await (receiver as EventReceiver | null)?.close();
    await ticking;
    // A read from the terminal cannot be cancelled; it ends with the program.
    void keys;
  }
}

function terminalSize(): { columns: number; rows: number } {
  try {
    return Deno.consoleSize();
  } catch {
    return { columns: 80, rows: 24 };
  }
}

async function tick(world: World, everyMs: number, signal: AbortSignal, draw: () => void): Promise<void> {
  try {
    for (;;) {
      await world.clock.sleep(everyMs, signal);
      draw();
    }
  } catch {
    // The view has ended.
  }
}

async function command(app: App, screen: EventsScreen, action: ScreenAction): Promise<void> {
  const options = { reply: true, timeout: REPLY_SECONDS } as const;
  try {
    if (action.kind === "revoke") {
      screen.showReplies(await app.control.revoke(action.id, { ...options, terminate: action.terminate }));
    } else if (action.kind === "rate-limit") {
      screen.showReplies(await app.control.rateLimit(action.name, action.rate, options));
    }
  } catch (error) {
    screen.notice = errorText(error);
  }
}

/** Calls `onKey` with the name of each key pressed: a character, "up", "down", "enter", "escape" … */
async function readKeys(signal: AbortSignal, onKey: (key: string) => void): Promise<void> {
  const buffer = new Uint8Array(256);
  const decoder = new TextDecoder();
  while (!signal.aborted) {
    const count = await Deno.stdin.read(buffer);
    if (count === null || signal.aborted) return;
    for (const key of keysOf(decoder.decode(buffer.subarray(0, count), { stream: true }))) onKey(key);
  }
}

const NAMED: Readonly<Record<string, string>> = {
  "\u001b[A": "up",
  "\u001b[B": "down",
  "\u001bOA": "up",
  "\u001bOB": "down",
  "\u001b[5~": "pageup",
  "\u001b[6~": "pagedown",
  "\u001b[H": "home",
  "\u001b[F": "end",
  "\u001b[1~": "home",
  "\u001b[4~": "end",
  "\u001b": "escape",
  "\r": "enter",
  "\n": "enter",
  "\u007f": "backspace",
  "\b": "backspace",
  "\u0003": "quit",
};

/** Returns the keys in a terminal's input. Unknown key sequences are ignored. */
export function keysOf(text: string): string[] {
  const keys: string[] = [];
  // deno-lint-ignore no-control-regex -- control characters are what a terminal sends
  for (const [part] of text.matchAll(/\u001b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])?|[^\u001b]/gsu)) {
    const name = Object.hasOwn(NAMED, part) ? NAMED[part]! : part;
    if (name.length === 1 ? name >= " " : !name.startsWith("\u001b")) keys.push(name);
  }
  return keys;
}
