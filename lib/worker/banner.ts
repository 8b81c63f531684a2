/**
 * The banner that a worker prints when it starts.
 *
 * Source: celery 5.2.6 apps/worker.py Worker.startup_info, app/amqp.py Queues.format; protocol.md 10.4.
 */

import type { Queue } from "../transport/mod.ts";

const ART = [
  " --------------",
  "--- ***** -----",
  "-- ******* ----",
  "- *** --- * ---",
  "- ** ----------",
  "- ** ----------",
  "- ** ----------",
  "- ** ----------",
  "- *** --- * ---",
  "-- ******* ----",
  "--- ***** -----",
  " --------------",
];

/** What the banner shows. */
export interface BannerFacts {
  readonly hostname: string;
  /** Such as "0.1.0 (lovage)". */
  readonly version: string;
  readonly platform: string;
  /** Local time, such as "2026-11-22 15:44:26". */
  readonly timestamp: string;
  readonly app: string;
  /** URLs with their passwords masked. */
  readonly transport: string;
  readonly results: string;
  readonly concurrency: number;
  /** `[max, min]`, or null. */
  readonly autoscale: readonly [number, number] | null;
  readonly pool: string;
  readonly taskEvents: boolean;
  readonly queues: readonly Queue[];
  /** Names of the tasks to list; null: no list (log levels above INFO). */
  readonly tasks: readonly string[] | null;
}

/** Returns the banner with a final line break. Pure. */
export function banner(facts: BannerFacts): string {
  const { autoscale } = facts;
  const slots = autoscale ? `{min=${autoscale[1]}, max=${autoscale[0]}}` : String(facts.concurrency);
  const lines = [
    `${facts.hostname} v${facts.version}`,
    "",
    `${facts.platform} ${facts.timestamp}`,
    "",
    "[config]",
    `.> app:         ${facts.app}`,
    `.> transport:   ${facts.transport}`,
    `.> results:     ${facts.results}`,
    `.> concurrency: ${slots} (${facts.pool})`,
    `.> task events: ${facts.taskEvents ? "ON" : "OFF (enable -E to monitor tasks in this worker)"}`,
    "",
    "[queues]",
    ...[...facts.queues].sort((a, b) => a.name < b.name ? -1 : 1).map(queueLine),
    "",
  ];
  const rows = lines.map((line, index) =>
    index < ART.length ? `${ART[index]} ${line}` : " ".repeat(16) + line
  );
  const list = facts.tasks === null
    ? ""
    : `\n[tasks]\n${[...facts.tasks].sort().map((name) => `  . ${name}`).join("\n")}\n`;
  return ` \n${rows.join("\n")}\n${list}`;
}

/** Returns a line such as `.> celery           exchange=celery(direct) key=celery`. */
function queueLine(queue: Queue): string {
  const { exchange } = queue;
  return `.> ${queue.name.padEnd(16)} exchange=${exchange.name}(${exchange.type}) key=${queue.routingKey}`;
}

/** Returns local time, such as "2026-11-22 15:44:26". */
export function localTimestamp(wallMs: number): string {
  const time = Temporal.Instant.fromEpochMilliseconds(Math.floor(wallMs)).toZonedDateTimeISO(
    Temporal.Now.timeZoneId(),
  );
  return time.toPlainDateTime().toString({ smallestUnit: "second" }).replace("T", " ");
}
