/** `lovage result ID`: waits for a result and prints it. Source: celery 5.2.6 bin/result.py. */

import { shownLine } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { READY_STATES } from "../wire/mod.ts";
import { duration } from "./arguments.ts";
import { described } from "./call.ts";
import { command, JSON_OPTION } from "./command.ts";
import { setJsonNumbers } from "../wire/mod.ts";
import { jsonLine, plain } from "./output.ts";

/** The command. */
export const result = command({
  arguments: [{ name: "task-id", help: "the task's id", isRequired: true }],
  options: {
    task: {
      short: "-t",
      value: "name",
      help: "the task's name (accepted for compatibility with Celery; has no effect)",
    },
    traceback: { help: "print the traceback instead" },
    timeout: { value: "seconds", help: "give up after this time; 0: do not wait", read: duration(0) },
    ...JSON_OPTION,
  },

  async run({ world, loadApp, args: [id] }, { traceback, timeout, json }): Promise<number> {
    setJsonNumbers("exact");
    await using app = await loadApp();
    const wanted = app.AsyncResult(id!);
    // If the store is away, fail now and not after the retries of a wait.
    await wanted.state();
    const { out, err } = world.terminal;
    let value: unknown = null;
    let error: unknown = null;
    try {
      value = await wanted.get(timeout === undefined ? {} : { timeout });
    } catch (thrown) {
      error = thrown;
    }
    const state = await wanted.state();
    // The meta that `updateState` stored for a task that has not ended.
    const info = error === null || READY_STATES.has(state) ? null : await wanted.info();
    if (json) {
      out(jsonLine({
        id,
        state,
        ...(info === null ? {} : { info }),
        ...(error === null ? { result: value } : { error: described(error) }),
        ...(traceback ? { traceback: await wanted.traceback() } : {}),
      }));
    } else if (traceback) out(`${await wanted.traceback() ?? "None"}\n`);
    else if (error === null) out(`${plain(value)}\n`);
    else {
      const where = READY_STATES.has(state)
        ? ""
        : ` Its state is ${state}${info === null ? "" : `: ${plain(info)}`}`;
      err(`Error: ${shownLine(described(error) + where)}\n`);
    }
    return error === null ? EXIT.OK : EXIT.FAILURE;
  },
});
