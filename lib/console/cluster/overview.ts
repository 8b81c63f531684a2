/** The figures of the overview and its charts. */

import { ALL_NAMES } from "../history/figure_table.ts";
import { type Counted, Figures, type Spread } from "../history/figures.ts";
import type { Shape } from "../shapes.ts";
import type { Cluster } from "./cluster.ts";
import type { Inspector } from "./inspector.ts";
import type { QueueWatch } from "./queues.ts";
import { workerRows } from "./workers.ts";

/** The default window, seconds. */
export const WINDOW_DEFAULT = 3600;
const MINUTE = 60;
/** The cluster counts as sending no task events after so long without one, seconds. */
const SILENT_SECONDS = 60;

/** Returns the overview of the last `window` seconds. */
export function overviewOf(
  cluster: Cluster,
  { inspector, queues, window }: { inspector: Inspector; queues: QueueWatch; window: number },
): Shape<"Overview"> {
  const now = cluster.world.clock.wallMs() / 1000;
  const { figures, words } = cluster.history;
  const sums = figures.sums(window, now);
  const all = sums.get(ALL_NAMES) ?? new Figures();
  const workers = workerRows(cluster, inspector);
  const online = workers.filter(({ isOnline }) => isOnline);
  const slots = online.map(({ concurrency }) => concurrency).filter((one) => one !== null);
  return {
    now,
    window,
    rates: ratesOf(cluster, now),
    totals: byKind((kind) => all.counts[kind]),
    runtime: percentiles(all.runtime),
    waited: percentiles(all.waited),
    failures: failuresOf(cluster, window, now),
    types: [...sums].filter(([name]) => name !== ALL_NAMES)
      .sort(([, a], [, b]) => b.counts.received - a.counts.received)
      .slice(0, 50)
      .map(([name, { counts, runtime }]) => ({
        name: words.text(name) ?? "(unknown)",
        received: counts.received,
        succeeded: counts.succeeded,
        failed: counts.failed,
        retried: counts.retried,
        runtime: percentiles(runtime),
      })),
    workersOnline: online.length,
    workersOffline: workers.length - online.length,
    slotsBusy: online.reduce((sum, { active }) => sum + (active ?? 0), 0),
    slots: slots.length === 0 ? null : slots.reduce((sum, one) => sum + one, 0),
    queues: queues.last.rows,
    hasTaskEvents: cluster.lastTaskEvent !== null && now - cluster.lastTaskEvent < SILENT_SECONDS ||
      all.counts.received > 0,
    series: seriesOf(cluster, window, null),
    events: cluster.events,
    isConnected: cluster.isConnected,
    isBehind: false,
  };
}

/** Returns the chart data of one task name, or of all (null). */
export function seriesOf(cluster: Cluster, window: number, task: string | null): Shape<"Series"> {
  const now = cluster.world.clock.wallMs() / 1000;
  const { figures, words } = cluster.history;
  const step = window <= 6 * 3600 ? MINUTE : window <= 2 * 86_400 ? 10 * MINUTE : 3600;
  // An unknown name has no figures, and a request must not add it to the words.
  const name = task === null
    ? ALL_NAMES
    : words.equal(task).find((number) => words.text(number) === task) ?? -1;
  const points = figures.points(window, step, { name, nowSeconds: now });
  const column = (of: (figures: Figures) => number | null) => points.map(([, one]) => of(one));
  return {
    step,
    times: points.map(([at]) => at),
    received: column(({ counts }) => counts.received),
    succeeded: column(({ counts }) => counts.succeeded),
    failed: column(({ counts }) => counts.failed),
    retried: column(({ counts }) => counts.retried),
    runtimeP50: column(({ runtime }) => runtime.at(0.5)),
    runtimeP95: column(({ runtime }) => runtime.at(0.95)),
    waitedP50: column(({ waited }) => waited.at(0.5)),
    waitedP95: column(({ waited }) => waited.at(0.95)),
  };
}

/** Returns events per second over the last 60 seconds. */
function ratesOf({ history }: Cluster, now: number): Shape<"Overview">["rates"] {
  const points = history.figures.points(2 * MINUTE, MINUTE, { name: ALL_NAMES, nowSeconds: now });
  const into = now % MINUTE;
  const [before, current] = points.map(([, figures]) => figures);
  // Takes the share of the previous minute that lies in the last 60 seconds, as if its events were evenly
  // spread.
  const rate = (kind: Counted) =>
    ((before?.counts[kind] ?? 0) * (MINUTE - into) / MINUTE + (current?.counts[kind] ?? 0)) / MINUTE;
  return byKind(rate);
}

/** Computes a figure for each kind of event that the overview shows. */
function byKind(of: (kind: Counted) => number): Shape<"Overview">["totals"] {
  return {
    received: of("received"),
    started: of("started"),
    succeeded: of("succeeded"),
    failed: of("failed"),
    retried: of("retried"),
    revoked: of("revoked"),
  };
}

function percentiles(spread: Spread): Shape<"Percentiles"> {
  return {
    count: spread.count,
    mean: spread.mean,
    p50: spread.at(0.5),
    p90: spread.at(0.9),
    p95: spread.at(0.95),
    p99: spread.at(0.99),
    max: spread.count === 0 ? null : spread.max,
  };
}

function failuresOf({ history }: Cluster, window: number, now: number): Shape<"Failure">[] {
  const { figures, words } = history;
  const found = new Map<number, Shape<"Failure">>();
  // They come most frequent first, so the first of a class names its most frequent task.
  for (const one of figures.failures(window, now)) {
    const known = found.get(one.class);
    if (known === undefined) {
      found.set(one.class, {
        exception: words.text(one.class) ?? "UnknownException",
        task: words.text(one.name),
        count: one.count,
        lastAt: one.lastAt,
        lastId: one.lastId,
        lastText: one.lastText,
      });
      continue;
    }
    known.count += one.count;
    if (one.lastAt <= known.lastAt) continue;
    known.lastAt = one.lastAt;
    known.lastId = one.lastId;
    known.lastText = one.lastText;
  }
  return [...found.values()].sort((a, b) => b.count - a.count).slice(0, 20);
}
