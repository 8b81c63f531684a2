/**
 * What Prometheus makes of our metrics: promtool is content with every text and with our rules, and each query of the
 * dashboard and of the alerts has data, from a worker, a beat and `lovage metrics` over a mixed cluster.
 *
 * `CELERY_MIXIN=FOLDER` looks at other dashboards (`*.json`) and rules (`*.yaml`) too, such as those of the Celery mixin.
 */

import assert from "node:assert/strict";
import { parse } from "yaml";
import { App } from "../../lib/mod.ts";
import { filePath } from "../../lib/base/mod.ts";
import { eventually, freePort } from "../support/ports.ts";
import {
  environment,
  LOVAGE,
  lovage,
  type Place,
  Program,
  startPythonWorker,
  startWorker,
  TASKS,
} from "../support/programs.ts";
import { startRedis } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";
import { runProgram } from "../support/run.ts";

const OURS = filePath(new URL("../../examples/observability/", import.meta.url));
/** What dashboards ask their reader for, and Grafana puts in. */
const VARIABLES: Readonly<Record<string, string>> = {
  job: "celery",
  cluster: "here",
  namespace: "shop",
  __rate_interval: "30s",
  __range: "30s",
};
const BEAT = { often: { task: "t.add", schedule: 0.5, args: [1, 2] } };

interface Panel {
  readonly title?: string;
  readonly targets?: readonly { readonly expr: string }[];
  readonly panels?: readonly Panel[];
}

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert: string; readonly expr: string }[];
  }[];
}

/** celery-exporter's names, which stay as they are: promtool would end no gauge in "_count". */
const EXPORTERS = /^celery_active_(?:consumer|process|worker)_count non-histogram .*\n/gm;

/** Fails with what promtool says of a text of metrics. */
async function checkMetrics(text: string): Promise<void> {
  const { out, err } = await runProgram(["promtool", "check", "metrics"], { input: text });
  assert.deepEqual([out, err].map((said) => said.replaceAll(EXPORTERS, "")), ["", ""]);
}

/** Queries of a file, by where they stand. Of an alert, what it compares: it is to fire for a reason. */
async function queriesOf(path: string): Promise<[where: string, query: string][]> {
  const text = await Deno.readTextFile(path);
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (path.endsWith(".json")) {
    const all = (panels: readonly Panel[]): [string, string][] =>
      panels.flatMap(({ title = "", targets = [], panels = [] }) => [
        ...targets.map(({ expr }): [string, string] => [`${name}: ${title}`, expr]),
        ...all(panels),
      ]);
    return all((JSON.parse(text) as { panels: Panel[] }).panels)
      .map(([where, query]) => [where, withoutComparisons(filled(query))]);
  }
  return (parse(text) as Rules).groups.flatMap(({ rules }) => rules)
    .map(({ alert, expr }) => [`${name}: ${alert}`, withoutComparisons(expr)]);
}

function filled(query: string): string {
  return query.replace(/\$(\w+)/g, (_, name) => VARIABLES[name] ?? ".+");
}

function withoutComparisons(query: string): string {
  return query.replace(/\s*(?:==|>)\s*-?[\d.]+/g, "");
}

function filesIn(folder: string, end: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => `${folder}/${name}`).filter((path) =>
    path.endsWith(end)
  ).sort();
}

Deno.test("every query of dashboards and alerts has data, and promtool nothing to say", async () => {
  await using redis = await startRedis();
  await using folder = await disposableFolder();
  const place: Place = {
    broker: redis.url(),
    backend: redis.url(1),
    conf: { worker_send_task_events: true, task_send_sent_event: true, beat_schedule: BEAT },
  };
  const [ofWorker, ofBeat, ofCluster, port] = [freePort(), freePort(), freePort(), freePort()];
  const at = (port: number) => ["--http", `127.0.0.1:${port}`];
  await using _worker = await startWorker(place, ["-c", "1", "-n", "w@here", ...at(ofWorker)]);
  await using _python = await startPythonWorker(place, ["-Q", "python", "-n", "p@there", "-E"]);
  const program = (...words: string[]) => new Program([...LOVAGE, "-A", TASKS, ...words], environment(place));
  await using _beat = program("beat", "-s", `${folder.path}/schedule`, ...at(ofBeat));
  await using cluster = program("metrics", ...at(ofCluster));
  await cluster.says(/Serving metrics/);
  const config = {
    global: { scrape_interval: "1s" },
    scrape_configs: [{
      job_name: "celery",
      static_configs: [{
        targets: [ofWorker, ofBeat, ofCluster].map((port) => `127.0.0.1:${port}`),
        labels: { cluster: "here", namespace: "shop" },
      }],
    }],
  };
  await Deno.writeTextFile(`${folder.path}/prometheus.json`, JSON.stringify(config));
  const files = [`--config.file=${folder.path}/prometheus.json`, `--storage.tsdb.path=${folder.path}/data`];
  await using prometheus = new Program(
    ["prometheus", ...files, `--web.listen-address=127.0.0.1:${port}`],
    environment(place),
  );
  await prometheus.says(/Server is ready to receive web requests/);

  await using app = new App("asking", {
    broker_url: place.broker!,
    result_backend: place.backend!,
    task_send_sent_event: true,
  });
  const send = (task: string, args: unknown[], queue: string) => app.sendTask(task, { args, queue });
  // Nobody consumes it.
  await send("t.add", [1, 2], "left");
  const foreign = Deno.env.get("CELERY_MIXIN");
  const folders = [OURS, ...foreign === undefined ? [] : [foreign]];
  const queries = await Promise.all(
    folders.flatMap((folder) => [...filesIn(folder, ".json"), ...filesIn(folder, "alerts.yaml")]).map(
      queriesOf,
    ),
  );
  let without = queries.flat();
  assert.ok(without.length > 30);
  await eventually(
    async () => {
      await Promise.all(["celery", "python"].flatMap((queue) => [
        send("t.add", [1, 2], queue),
        send("t.fail", ["ValueError", "no"], queue),
      ]));
      const found = await Promise.all(without.map(async ([, query]) => {
        const answer = await fetch(`http://127.0.0.1:${port}/api/v1/query?${new URLSearchParams({ query })}`);
        const { status, error, data } = await answer.json();
        assert.equal(status, "success", `${error}: ${query}`);
        return data.result.length > 0;
      }));
      without = without.filter((_, at) => !found[at]);
      return without.length === 0;
    },
    () => `data for ${without.map((one) => one.join("\n  ")).join("\n")}`,
    { everyMs: 500 },
  );

  for (const port of [ofWorker, ofBeat, ofCluster]) {
    await checkMetrics(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());
  }
  const once = await lovage(["-A", TASKS, "metrics", "--once", "-j", "-Q", "left"], place);
  const families: { name: string; samples: { labels: unknown; value: unknown }[] }[] = JSON.parse(once.out);
  const lengths = families.find(({ name }) => name === "celery_queue_length")!.samples;
  assert.deepEqual(
    lengths.find(({ labels }) => JSON.stringify(labels) === '{"queue_name":"left"}')?.value,
    1,
    once.out,
  );
  for (const path of folders.flatMap((folder) => filesIn(folder, "alerts.yaml"))) {
    const { code, stderr } = await new Deno.Command("promtool", { args: ["check", "rules", path] }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
  }
});
