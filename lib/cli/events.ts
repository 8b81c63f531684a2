/**
 * `lovage events`: what happens in the cluster, live: a screen of tasks and workers, or lines.
 *
 * Source: celery 5.2.6 bin/events.py, events/dumper.py (texts), events/cursesmon.py (keys).
 */

import type { Command } from "commander";
import { errorText, UsageError } from "../base/mod.ts";
import { appExtensions } from "../app/mod.ts";
import { EventReceiver, type ReceivedEvent } from "../event/mod.ts";
import { EXIT, listenSignals, type SignalName } from "../platform/mod.ts";
import { numeric } from "./arguments.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { EventDumper, SAY } from "./events_dump.ts";
import { jsonLine } from "./output.ts";

interface EventsOptions {
  dump?: boolean;
  json?: boolean;
  frequency?: number;
  camera?: string;
}

/** The command. */
export const events: CommandModule = {
  define(command: Command): void {
    command.option("-d, --dump", "print each event on a line, as it comes")
      .option("-j, --json", "print each event as a line of JSON")
      .option("-F, --frequency <seconds>", "how often the screen is drawn; 0.5 by default", numeric)
      .option("-c, --camera <class>", "Celery's snapshots, which are made by a Python class: refused");
  },

  async run(context: CommandContext, _args, raw): Promise<number> {
    const { dump, json, frequency = 0.5, camera } = raw as EventsOptions;
    if (camera !== undefined) {
      throw new UsageError(
        `Cannot use camera "${camera}": a Python class takes no pictures here; a program with app.events.State does`,
      );
    }
    const { world } = context;
    await using app = await context.loadApp();
    if (!dump && !json) {
      if (!world.terminal.outIsTty || !world.terminal.inIsTty) {
        throw new UsageError("Cannot show the live view: this is no terminal; use --dump or --json");
      }
      const { installControl } = await import("../mailbox/mod.ts");
      const { showLive } = await import("./events_live.ts");
      installControl(appExtensions);
      return await showLive(world, app, { everyMs: Math.max(0.05, frequency) * 1000 });
    }
    const { terminal } = world;
    const dumper = new EventDumper();
    const say = (text: string): void => json ? undefined : terminal.out(`${text}\n`);
    const handle = (event: ReceivedEvent): void =>
      json ? terminal.out(jsonLine(event)) : say(dumper.line(event));
    const stop = Promise.withResolvers<SignalName>();
    const unlisten = listenSignals(["SIGINT", "SIGTERM"], (name) => stop.resolve(name));
    try {
      say(SAY.start);
      const opening = EventReceiver.open(app, {
        handlers: { "*": handle },
        onLost: () => json ? world.log.warning(SAY.lost.slice(3)) : say(SAY.lost),
        onAttempt: (error, seconds, url) => terminal.err(SAY.attempt(url, errorText(error), seconds)),
      });
      const first = await Promise.race([opening, stop.promise]);
      if (typeof first === "string") return exitOf(first);
      await using receiver = first;
      const end = await Promise.race([receiver.ended(), stop.promise]);
      return typeof end === "string" ? exitOf(end) : EXIT.OK;
    } finally {
      unlisten();
    }
  },
};

function exitOf(signal: SignalName): number {
  return signal === "SIGINT" ? 130 : 143;
}
