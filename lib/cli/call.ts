/**
 * `lovage call NAME`: publishes a task and prints its id; with `--wait` its result.
 *
 * Source: celery 5.2.6 bin/call.py.
 */

import { errorText, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { setJsonNumbers } from "../wire/mod.ts";
import { duration, jsonArray, jsonObject, moment, momentOrSeconds, whole } from "./arguments.ts";
import { command, JSON_OPTION } from "./command.ts";
import { jsonLine, plain } from "./output.ts";

/** The command. */
export const call = command({
  arguments: [{ name: "name", help: "the task's name", isRequired: true }],
  options: {
    args: { short: "-a", value: "json", help: "positional arguments, a JSON array", read: jsonArray },
    kwargs: { short: "-k", value: "json", help: "keyword arguments, a JSON object", read: jsonObject },
    eta: { value: "time", help: "when to run, ISO 8601", read: moment },
    countdown: { value: "seconds", help: "run after this delay", read: duration(-1e9) },
    expires: { value: "time", help: "ISO 8601, or seconds from now", read: momentOrSeconds },
    serializer: { value: "name", help: "json, yaml, msgpack or cbor" },
    queue: { value: "name", help: "send to this queue" },
    exchange: { value: "name", help: "publish to this exchange" },
    routingKey: { value: "key", help: "use this routing key" },
    priority: { value: "0-9", help: "priority of the message", read: whole(0, 9) },
    taskId: { value: "id", help: "use this task id" },
    wait: { help: "wait for the result and print it" },
    timeout: { value: "seconds", help: "with --wait: give up after this time", read: duration(0) },
    ...JSON_OPTION,
  },

  async run({ world, loadApp, args: [name] }, { args = [], kwargs = {}, wait, timeout, json, ...options }) {
    await using app = await loadApp();
    if (wait && (await app.openBackend()).kind === "disabled") {
      throw new UsageError("Cannot wait: no result store is configured (--result-backend or result_backend)");
    }
    const sent = await app.sendTask(name!, {
      args,
      kwargs,
      ...pick(options),
    });
    const { out, err } = world.terminal;
    if (!wait) {
      out(json ? jsonLine({ id: sent.id }) : `${sent.id}\n`);
      return EXIT.OK;
    }
    setJsonNumbers("exact");
    try {
      const value = await sent.get(timeout === undefined ? {} : { timeout });
      out(json ? jsonLine({ id: sent.id, state: "SUCCESS", result: value }) : `${plain(value)}\n`);
      return EXIT.OK;
    } catch (error) {
      // If the store is away, report that and not a failure of the task.
      const state = await sent.state().catch((away) => {
        err(`Task ${sent.id} was sent, but its result cannot be read\n`);
        throw away;
      });
      if (json) out(jsonLine({ id: sent.id, state, error: described(error) }));
      else err(`Error: ${described(error)}\n`);
      return EXIT.FAILURE;
    }
  },
});

/** Picks the options that are part of the message. */
function pick(options: Record<string, unknown>): Record<string, unknown> {
  const { eta, countdown, expires, serializer, queue, exchange, routingKey, priority, taskId } = options;
  const all = { eta, countdown, expires, serializer, queue, exchange, routingKey, priority, taskId };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** Formats an error as Python prints an exception: "ValueError: text". */
export function described(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const name = error.name === "Error" ? error.constructor.name : error.name;
  const text = errorText(error);
  return text === "" || text === name ? name : `${name}: ${text}`;
}
