/**
 * `lovage metrics`: serves metrics of the whole cluster for Prometheus, from events and the broker, without
 * the console.
 *
 * Source: celery-exporter (August 2026) cli.py (buckets, prefix, labels, queues, the generic host).
 */

import { UsageError } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import type { ClusterMetricsOptions } from "../console/mod.ts";
import { sampledFamilies } from "../metrics/mod.ts";
import { EXIT, listenSignals } from "../platform/mod.ts";
import { bounds, InvalidValue, oneOf, someOf, whole } from "./arguments.ts";
import { command, type CommandContext, JSON_OPTION, type Options, type ValuesOf } from "./command.ts";
import { LOGLEVEL_OPTION } from "./daemon.ts";
import { jsonLine } from "./output.ts";
import { openProbes } from "./probes.ts";

/** The default address: celery-exporter's port, for this machine only. */
const PLACE = "127.0.0.1:9808";

const OPTIONS = {
  once: { help: "ask broker and workers now, print the metrics, and exit" },
  json: { ...JSON_OPTION.json, help: "with --once: print JSON, an array of families with their samples" },
  http: { value: "address", help: `where to serve: ADDRESS:PORT or unix:PATH; ${PLACE} by default` },
  metrics: {
    value: "names",
    help: "celery: celery-exporter's names (default); flower: Flower's names too",
    read: oneOf("celery", "flower"),
  },
  queues: {
    short: "-Q",
    value: "names",
    help: "also show these queues, even without consumers",
    read: someOf("queue"),
  },
  buckets: { value: "seconds", help: "upper bounds of the runtime buckets, comma separated", read: bounds },
  queueWaitBuckets: { value: "seconds", help: "upper bounds of the buckets of queue waits", read: bounds },
  metricPrefix: { value: "text", help: 'prefix of names instead of "celery_"', read: prefix },
  staticLabel: { value: "name=value", help: "a label for every metric; may be repeated", read: label },
  genericHost: { help: 'label all hosts "generic": for hosts that come and go' },
  maxSeries: {
    value: "n",
    help: "maximum number of series (task, host and queue); 2000 by default",
    read: whole(1),
  },
  enableEvents: { help: "ask workers for task events, every 5 seconds" },
  ...LOGLEVEL_OPTION,
} as const satisfies Options;

type Values = ValuesOf<typeof OPTIONS>;

/** The command. */
export const metrics = command({
  options: OPTIONS,

  validate(_args, { once, json }): void {
    if (json && !once) throw new UsageError("Cannot use --json without --once: metrics are served as text");
  },

  async run(context, options): Promise<number> {
    const { world, globals } = context;
    world.log.configure({ level: options.loglevel ?? "INFO", logger: "lovage.metrics" });
    await using app = await context.loadApp();
    for (const name of options.queues ?? []) app.amqp.queues.selectAdd(app.amqp.queues.get(name));
    const { ClusterExporter } = await import("../console/mod.ts");
    const enablesEvents = options.enableEvents ?? false;
    await using exporter = await ClusterExporter.open(app, { ...measured(app, options), enablesEvents });
    if (options.once) {
      const text = await exporter.textNow();
      world.terminal.out(options.json ? jsonLine(sampledFamilies(text)) : text);
      return EXIT.OK;
    }
    exporter.listen();
    return await serve(context, exporter, { place: options.http ?? PLACE, isQuiet: globals.quiet ?? false });
  },
});

async function serve(
  { world }: CommandContext,
  exporter: { readonly isConnected: boolean; text(isOpenMetrics: boolean): Promise<string> },
  { place, isQuiet }: { readonly place: string; readonly isQuiet: boolean },
): Promise<number> {
  const stop = Promise.withResolvers<void>();
  const unlisten = listenSignals(["SIGINT", "SIGTERM"], () => stop.resolve());
  try {
    await using service = await openProbes(world, place, {
      readiness: () => {
        const isOk = exporter.isConnected;
        return [{ name: "events", isOk, text: isOk ? "they are read" : "the broker is away" }];
      },
      metrics: ({ isOpenMetrics = false }) => exporter.text(isOpenMetrics),
      runsUserCode: false,
    });
    if (!isQuiet) world.terminal.out(`Metrics: ${service.url}/metrics\n`);
    await stop.promise;
  } finally {
    unlisten();
  }
  return EXIT.OK;
}

function measured(app: App, options: Values): ClusterMetricsOptions {
  return {
    hasFlower: options.metrics === "flower",
    buckets: {
      ...(options.buckets === undefined ? {} : { runtime: options.buckets }),
      ...(options.queueWaitBuckets === undefined ? {} : { queueWait: options.queueWaitBuckets }),
    },
    isGeneric: options.genericHost ?? false,
    seriesMax: options.maxSeries ?? null,
    defaultQueue: app.conf.task_default_queue,
    text: {
      ...(options.metricPrefix === undefined ? {} : { prefix: options.metricPrefix }),
      labels: options.staticLabel ?? {},
    },
  };
}

function prefix(text: string): string {
  if (!/^[a-z_:][\w:]*$/i.test(text)) {
    throw new InvalidValue("it must begin with a letter, and have only letters, digits, _ and :");
  }
  return text;
}

function label(text: string, before: unknown): Record<string, string> {
  const at = text.indexOf("=");
  const name = text.slice(0, at);
  if (at < 0 || !/^(?!__)[a-z_]\w*$/i.test(name)) throw new InvalidValue("it must be name=value");
  if (/^(name|hostname|queue_name|exception|le|state|for)$/.test(name)) {
    throw new UsageError(`Cannot use label "${name}": metrics already have this label`);
  }
  return { ...(before as Record<string, string> | undefined), [name]: text.slice(at + 1) };
}
