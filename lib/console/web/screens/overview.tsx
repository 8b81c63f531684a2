/** Overview: current and recent activity of the cluster. */

import type { ComponentChild, JSX } from "preact";
import type { Reply, Shape } from "../../api/v1/schema.ts";
import { Chart } from "../chart.tsx";
import { count, rate, share, short, span } from "../format.ts";
import { Bar, Empty, Failed, Head, Note, Panel, Spark, TaskLink, TasksLink, Time } from "../parts.tsx";
import { searchFor, to } from "../place.ts";
import { Table } from "../table.tsx";
import { Choices } from "../tabs.tsx";
import { NoEvents } from "./no_events.tsx";
import { QueueTable } from "./queues.tsx";

/** The windows: value in the address, and text. */
const WINDOWS = [
  ["900", "15 m"],
  ["", "1 h"],
  ["21600", "6 h"],
  ["86400", "24 h"],
  ["604800", "7 d"],
] as const;

type Data = Reply<"overview">;

/** The page. */
export function Overview({ data }: { data: Data }): JSX.Element {
  const { series } = data;
  return (
    <>
      <Head title="Overview">
        <Choices name="window" label="Time window" choices={WINDOWS} small />
      </Head>
      {!data.isConnected && (
        <Note kind="bad">
          The broker cannot be reached. The console keeps trying; this data may be out of date.
        </Note>
      )}
      {data.isBehind && (
        <Note kind="warn">
          Events arrive faster than the console can process them; this data lags behind.
        </Note>
      )}
      {data.isConnected && !data.hasTaskEvents && <NoEvents />}
      <Tiles data={data} />
      <div class="grid">
        <Panel title="Tasks" class="half" flush>
          <Chart
            times={series.times}
            label="Tasks over time"
            kind="bars"
            format={short}
            lines={[
              { label: "Succeeded", values: series.succeeded, color: "ok" },
              { label: "Failed", values: series.failed, color: "bad" },
              { label: "Retried", values: series.retried, color: "warn" },
            ]}
          />
        </Panel>
        <Panel title="Run and waiting time" class="half" flush>
          <Chart
            times={series.times}
            label="Run and waiting time"
            kind="lines"
            format={span}
            lines={[
              { label: "Run p95", values: series.runtimeP95, color: "run" },
              { label: "Run p50", values: series.runtimeP50, color: "ok" },
              { label: "Waited p95", values: series.waitedP95, color: "off" },
            ]}
          />
        </Panel>
        <Panel title="Failures by exception" class="half" flush>
          <Failures rows={data.failures} />
        </Panel>
        <Panel title="Queues" class="half" flush aside={<a href={to(["queues"])}>All queues</a>}>
          {data.queues.length === 0 && data.slots === null && data.workersOnline > 0
            ? <p class="body soft">Asking the broker and the workers …</p>
            : <QueueTable rows={data.queues} isShort />}
        </Panel>
        <Panel title="Tasks by name" flush>
          <Types rows={data.types} />
        </Panel>
      </div>
    </>
  );
}

function Tiles({ data }: { data: Data }): JSX.Element {
  const { rates, totals, runtime, waited, series, queues } = data;
  const ended = totals.succeeded + totals.failed;
  const ready = queues.reduce((sum, queue) => sum + (queue.ready ?? 0), 0);
  const oldest = Math.max(0, ...queues.map((queue) => queue.oldest ?? 0));
  const [speed, unit] = rate(rates.succeeded + rates.failed);
  const slots = data.slots === null ? "" : ` of ${data.slots}`;
  return (
    <div class="tiles">
      <Tile label="Throughput" text={`${speed} ${unit}`} hint={`${short(ended)} done`}>
        <Spark values={series.succeeded} />
      </Tile>
      <Tile
        label="Failed"
        text={short(totals.failed)}
        hint={share(totals.failed, ended) || "none finished yet"}
        at={to(["tasks"], { search: "state:FAILURE" })}
      >
        <Spark values={series.failed} kind="bad" />
      </Tile>
      <Tile label="Run time, p95" text={span(runtime.p95)} hint={`median ${span(runtime.p50)}`}>
        <Spark values={series.runtimeP95} />
      </Tile>
      <Tile label="Waiting time, p95" text={span(waited.p95)} hint={`median ${span(waited.p50)}`}>
        <Spark values={series.waitedP95} />
      </Tile>
      <Tile
        label="In queues"
        text={short(ready)}
        hint={oldest > 0 ? `oldest ${span(oldest)}` : "none pending"}
        at={to(["queues"])}
      />
      <Tile
        label="Workers"
        text={`${count(data.workersOnline)} online`}
        hint={data.workersOffline > 0
          ? `${data.workersOffline} offline`
          : `${data.slotsBusy}${slots} slots busy`}
        at={to(["workers"])}
      >
        {data.slots !== null && (
          <Bar part={data.slotsBusy} whole={data.slots} label={`${data.slotsBusy}${slots} slots busy`} />
        )}
      </Tile>
    </div>
  );
}

/** A tile with one figure. `text` is a number, followed by a space and its unit. */
function Tile(
  { label, text, hint, at, children }: {
    label: string;
    text: string;
    hint: string;
    at?: string;
    children?: ComponentChild;
  },
): JSX.Element {
  const [value, ...unit] = text.split(" ");
  const inside = (
    <>
      <span class="label">{label}</span>
      <span class="value">{value}{unit.length > 0 && <small>{unit.join(" ")}</small>}</span>
      <span class="hint">{hint}</span>
      {children}
    </>
  );
  return at === undefined ? <div class="tile">{inside}</div> : <a class="tile" href={at}>{inside}</a>;
}

function Failures({ rows }: { rows: readonly Shape<"Failure">[] }): JSX.Element {
  return (
    <Table
      label="Failures by exception"
      rows={rows}
      id={({ exception }) => exception}
      columns={[
        {
          label: "Exception",
          kind: "key",
          cell: ({ exception, lastText }) => (
            <>
              <a href={to(["tasks"], { search: `state:FAILURE ${searchFor("exception", exception)}` })}>
                {exception}
              </a>
              <span class="clip soft">{lastText}</span>
            </>
          ),
        },
        { label: "Most in", cell: ({ task }) => task ?? "–" },
        { label: "Times", kind: "num", cell: (row) => count(row.count) },
        {
          label: "Last",
          kind: "num",
          cell: ({ lastAt, lastId }) => <TaskLink id={lastId} says={<Time at={lastAt} ago />} />,
        },
      ]}
    >
      <Empty title="No task failed">
        <p>This list shows exceptions, the most frequent first.</p>
      </Empty>
    </Table>
  );
}

function Types({ rows }: { rows: readonly Shape<"TaskType">[] }): JSX.Element {
  return (
    <Table
      label="Tasks by name"
      rows={rows}
      id={({ name }) => name}
      columns={[
        {
          label: "Task",
          kind: "key",
          cell: ({ name }) => <TasksLink by="name" is={name} />,
        },
        { label: "Received", kind: "num", cell: ({ received }) => count(received) },
        { label: "Succeeded", kind: "num", cell: ({ succeeded }) => count(succeeded) },
        { label: "Failed", kind: "num", cell: Failed },
        { label: "Retried", kind: "num", cell: ({ retried }) => count(retried) },
        { label: "Median", kind: "num", cell: ({ runtime }) => span(runtime.p50) },
        { label: "p95", kind: "num", cell: ({ runtime }) => span(runtime.p95) },
        { label: "Longest", kind: "num", cell: ({ runtime }) => span(runtime.max) },
      ]}
    >
      <Empty title="No task ran yet">
        <p>A task appears here when a worker receives it.</p>
      </Empty>
    </Table>
  );
}
