/**
 * `lovage graph bootsteps|workers`: draws graphs in DOT.
 *
 * Source: celery 5.2.6 bin/graph.py, utils/graph.py GraphFormatter (styles, words).
 */

import { maskUrl, nearest, UsageError, type World } from "../base/mod.ts";
import { type App, appBrokerUrls } from "../app/mod.ts";
import { dotQuoted, graphToDot } from "../blueprint/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { ControlClient } from "../mailbox/mod.ts";
import { command, JSON_OPTION } from "./command.ts";
import { jsonLine } from "./output.ts";

/** Default maximum of nodes and threads shown (`wmax`, `tmax`). */
const NODES_MAX = 4;
const THREADS_MAX = 3;
/** Higher counts are refused, and capped in a worker's reply. */
const COUNT_MAX = 10_000;
/** How long to wait for workers' replies. */
const REPLY_MS = 1000;

const PICTURES = ["bootsteps", "workers"] as const;

/** The command. */
export const graph = command({
  arguments: [
    { name: "what", help: "bootsteps or workers", words: PICTURES, isRequired: true },
    {
      name: "args",
      help:
        "bootsteps: worker, consumer; workers: nodes:a,b threads:2,3 wmax:4 tmax:3 broker:URL backend:URL " +
        "generic enumerate",
      isRest: true,
    },
  ],
  options: { json: { ...JSON_OPTION.json, help: "print JSON: the steps in boot order, or the workers" } },

  validate([what]) {
    if ((PICTURES as readonly string[]).includes(what!)) return;
    const near = nearest(what!, PICTURES);
    throw new UsageError(`Cannot draw "${what}"${near ? `: did you mean "${near}"?` : ""}`);
  },

  async run({ world, loadApp, args: [what, ...args] }, { json = false }): Promise<number> {
    await using app = await loadApp();
    return await (what === "bootsteps" ? bootsteps : workers)(world, app, args, json);
  },
});

async function bootsteps(world: World, app: App, args: readonly string[], json: boolean): Promise<number> {
  const wanted = new Set(args.map((word) => word.toLowerCase()));
  for (const word of wanted) {
    if (word !== "worker" && word !== "consumer") {
      throw new UsageError(`Unknown blueprint "${word}": use worker or consumer`);
    }
  }
  const isWanted = (name: string): boolean => wanted.size === 0 || wanted.has(name);
  const { WorkController } = await import("../worker/mod.ts");
  const worker = WorkController.create(world, app, { quiet: true });
  const blueprints = [
    ...(isWanted("worker") ? [worker.blueprint] : []),
    ...(isWanted("consumer") ? [worker.consumer.blueprint] : []),
  ];
  world.terminal.out(
    json
      ? jsonLine(Object.fromEntries(blueprints.map(({ name, order }) => [
        name,
        order.map((step) => ({ name: step.name, requires: step.requires })),
      ])))
      : graphToDot(blueprints.map(({ order }) => order)),
  );
  return EXIT.OK;
}

async function workers(world: World, app: App, args: readonly string[], json: boolean): Promise<number> {
  const given = new Map(args.map((word) => {
    const at = word.indexOf(":");
    return at < 0 ? [word, ""] : [word.slice(0, at), word.slice(at + 1)];
  }));
  // 0 means all, as in Celery.
  const max = (name: string, fallback: number): number =>
    countIn(name, given.get(name) || String(fallback)) || Infinity;
  const named = given.get("nodes");
  const list = named === undefined
    ? await inspected(app)
    : named.split(",").filter(Boolean).map((name, index) => ({
      name,
      threads: countIn("threads", given.get("threads")?.split(",")[index] ?? "0"),
    }));
  if (json) {
    world.terminal.out(jsonLine(list));
    return EXIT.OK;
  }
  const broker = given.get("broker") ?? maskUrl(appBrokerUrls(app, false)[0]!);
  const backend = given.get("backend") ?? (app.conf.result_backend ? maskUrl(app.conf.result_backend) : null);
  const isGeneric = given.has("generic");
  const label = (kind: string, url: string): string =>
    isGeneric ? `${kind} (${url.split("://")[0]}://)` : url;
  world.terminal.out(workersDot({
    broker: label("Broker", broker),
    backend: backend ? label("Backend", backend) : null,
    workers: list,
    enumerates: given.has("enumerate"),
    nodesMax: max("wmax", NODES_MAX),
    threadsMax: max("tmax", THREADS_MAX),
  }));
  return EXIT.OK;
}

interface GraphWorker {
  readonly name: string;
  readonly threads: number;
}

async function inspected(app: App): Promise<GraphWorker[]> {
  await using cluster = await ControlClient.openApp(app);
  const { replies } = await cluster.ask({ command: "stats", timeoutMs: REPLY_MS });
  return replies.map(([name, reply]) => {
    const { ok } = (reply ?? {}) as { ok?: { pool?: { "max-concurrency"?: unknown } } };
    const threads = Math.trunc(Number(ok?.pool?.["max-concurrency"]));
    return { name, threads: Math.min(Math.max(threads || 0, 0), COUNT_MAX) };
  });
}

/** Parses a number in `threads:2,3`, `wmax:4` or `tmax:3`. Throws UsageError. */
function countIn(name: string, text: string): number {
  const count = Number(text);
  if (text.trim() !== "" && Number.isInteger(count) && count >= 0 && count <= COUNT_MAX) return count;
  throw new UsageError(`Cannot read "${name}:${text}": give whole numbers from 0 to ${COUNT_MAX}`);
}

const BASE = { shape: "box", arrowhead: "vee", style: "filled", fontname: "HelveticaNeue" };
const NODE = { fillcolor: "palegreen3", color: "palegreen4" };
const BROKER = { shape: "circle", fillcolor: "cadetblue3", color: "cadetblue4", height: "1" };
const BACKEND = { shape: "folder", fillcolor: "peachpuff3", color: "black", width: "2", height: "1" };
const THREAD = {
  shape: "oval",
  fillcolor: "lightcyan4",
  color: "black",
  fontcolor: "yellow",
  fontsize: "10",
  width: "0.3",
};
const EDGE = { color: "darkseagreen4", arrowcolor: "black", arrowsize: "0.7" };

/** Draws workers with their threads, connected to broker and result store. */
function workersDot(picture: {
  readonly broker: string;
  readonly backend: string | null;
  readonly workers: readonly GraphWorker[];
  readonly enumerates: boolean;
  readonly nodesMax: number;
  readonly threadsMax: number;
}): string {
  const { broker, backend, enumerates } = picture;
  const lines = [`    graph [${attributes({ bgcolor: "mintcream", root: "None" })}]`];
  const node = (name: string, style: Record<string, string>): void =>
    void lines.push(`    ${dotQuoted(name)} [${attributes(style)}]`);
  const edge = (from: string, to: string, style: Record<string, string> = {}): void =>
    void lines.push(`    ${dotQuoted(from)} -> ${dotQuoted(to)} [${attributes({ ...EDGE, ...style })}]`);
  node(broker, BROKER);
  if (backend !== null) node(backend, BACKEND);
  const names = abbreviated(picture.workers.map(({ name }) => name), "Worker", picture.nodesMax, enumerates);
  const shownWorkers = names.length === picture.workers.length
    ? picture.workers
    : [...picture.workers.slice(0, names.length - 1), picture.workers.at(-1)!];
  let thread = 0;
  names.forEach((name, index) => {
    node(name, NODE);
    edge(name, broker);
    if (backend !== null) edge(name, backend);
    const all = Array.from({ length: shownWorkers[index]!.threads }, (_, n) => String(n));
    for (const label of abbreviated(all, "P", picture.threadsMax, enumerates)) {
      const id = `thr-${++thread}`;
      node(id, { ...THREAD, label });
      edge(id, name, { arrowhead: "none", arrowtail: "tee" });
    }
  });
  return `digraph dependencies {\n${lines.join("\n")}\n}\n`;
}

/** Returns at most `max` labels: the first ones, one for those left out, and the last. */
function abbreviated(labels: readonly string[], name: string, max: number, enumerates: boolean): string[] {
  const all = enumerates ? labels.map((_, index) => name + subscript(index + 1)) : [...labels];
  if (all.length <= max || max < 2) return all;
  const shown = [...all.slice(0, max - 1), all.at(-1)!];
  shown[max - 2] = `${name[0]}⎨…${subscript(all.length - (max - 1))}⎬`;
  return shown;
}

function subscript(value: number): string {
  return [...String(value)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[Number(digit)]).join("");
}

function attributes(style: Readonly<Record<string, string>>): string {
  return Object.entries({ ...BASE, ...style }).map(([name, value]) => `${name}=${dotQuoted(value)}`).join(
    ", ",
  );
}
