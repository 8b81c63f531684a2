/**
 * `lovage call NAME`: publishes a task and prints its id; with `--wait` its result.
 *
 * Source: celery 5.2.6 bin/call.py.
 */

import type { Command } from "commander";
import { errorText, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { jsonArray, jsonObject, numeric } from "./arguments.ts";
import type { CommandContext, CommandModule } from "./command.ts";
import { jsonLine, plain } from "./output.ts";

interface CallOptions {
  args?: unknown[];
  kwargs?: Record<string, unknown>;
  eta?: string;
  countdown?: number;
  expires?: string;
  serializer?: string;
  queue?: string;
  exchange?: string;
  routingKey?: string;
  priority?: number;
  taskId?: string;
  wait?: boolean;
  timeout?: number;
  json?: boolean;
}

/** The command. */
export const call: CommandModule = {
  define(command: Command): void {
    command.argument("<name>", "the task's name")
      .option("-a, --args <json>", "positional arguments, a JSON array", jsonArray)
      .option("-k, --kwargs <json>", "keyword arguments, a JSON object", jsonObject)
      .option("--eta <time>", "when to run, ISO 8601")
      .option("--countdown <seconds>", "run that much later", numeric)
      .option("--expires <time>", "ISO 8601, or seconds from now")
      .option("--serializer <name>", "json, yaml, msgpack or cbor")
      .option("--queue <name>", "another queue")
      .option("--exchange <name>", "another exchange")
      .option("--routing-key <key>", "another routing key")
      .option("--priority <0-9>", "the message's priority", numeric)
      .option("--task-id <id>", "an id of your own")
      .option("--wait", "wait for the result and print it")
      .option("--timeout <seconds>", "with --wait: give up after", numeric)
      .option("-j, --json", "print JSON");
  },

  async run({ world, loadApp }: CommandContext, [name], raw): Promise<number> {
    const { args = [], kwargs = {}, wait, timeout, json, expires, ...options } = raw as CallOptions;
    await using app = await loadApp();
    if (wait && (await app.openBackend()).kind === "disabled") {
      throw new UsageError("Cannot wait: no result store is configured (--result-backend or result_backend)");
    }
    const sent = await app.sendTask(name!, {
      args,
      kwargs,
      ...pick(options),
      ...(expires === undefined ? {} : { expires: /^[\d.]+$/.test(expires) ? Number(expires) : expires }),
    });
    const { out, err } = world.terminal;
    if (!wait) {
      out(json ? jsonLine({ id: sent.id }) : `${sent.id}\n`);
      return EXIT.OK;
    }
    try {
      const value = await sent.get(timeout === undefined ? {} : { timeout });
      out(json ? jsonLine({ id: sent.id, state: "SUCCESS", result: value }) : `${plain(value)}\n`);
      return EXIT.OK;
    } catch (error) {
      const state = await sent.state().catch(() => "PENDING");
      if (json) out(jsonLine({ id: sent.id, state, error: described(error) }));
      else err(`Error: ${described(error)}\n`);
      return EXIT.FAILURE;
    }
  },
};

/** The options that were given, under the API's names. */
function pick(options: CallOptions): Record<string, unknown> {
  const { eta, countdown, serializer, queue, exchange, routingKey, priority, taskId } = options;
  const all = { eta, countdown, serializer, queue, exchange, routingKey, priority, taskId };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** "ValueError: text", as Python prints an exception. */
export function described(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const name = error.name === "Error" ? error.constructor.name : error.name;
  const text = errorText(error);
  return text === "" || text === name ? name : `${name}: ${text}`;
}
