/** Queues: their messages, consumers, and the age of the oldest message. */

import type { JSX } from "preact";
import type { Reply, Shape } from "../../api/v1/schema.ts";
import { Act } from "../act.tsx";
import { count, span } from "../format.ts";
import { Empty, Head, Note, Panel, TasksLink } from "../parts.tsx";
import { to } from "../place.ts";
import { type Column, Table } from "../table.tsx";

type Row = Shape<"QueueRow">;

/** The page. */
export function Queues({ data }: { data: Reply<"queues"> }): JSX.Element {
  return (
    <>
      <Head title="Queues" />
      {data.why && <Note>{data.why}</Note>}
      <Panel title="All queues" flush>
        <QueueTable rows={data.rows} />
      </Panel>
    </>
  );
}

/** The table of queues; `isShort`: only the most important columns. */
export function QueueTable(
  { rows, isShort = false }: { rows: readonly Row[]; isShort?: boolean },
): JSX.Element {
  return (
    <Table
      label="Queues"
      rows={rows}
      id={({ name }) => name}
      columns={[
        { label: "Queue", kind: "key", cell: (row) => <Name {...row} isShort={isShort} /> },
        number("Ready", ({ ready }) => ready),
        number("Unacked", ({ unacked }) => unacked),
        !isShort && number("Scheduled", ({ parked }) => parked, to(["scheduled"])),
        !isShort && number("Limited", ({ limited }) => limited),
        !isShort && number("Dead", ({ dead }) => dead, to(["dead"])),
        !isShort && number("Failed", ({ failed }) => failed, to(["dead"], { kind: "failed" })),
        number("Consumers", ({ consumers }) => consumers),
        { label: "Oldest", kind: "num", cell: ({ oldest }) => span(oldest) },
        !isShort && { label: "Actions", kind: "acts", cell: (row) => <Purge {...row} /> },
      ]}
    >
      <Empty title="No queues">
        <p>
          A queue appears here when a worker consumes it. Start a worker:{" "}
          <code>lovage worker -A tasks.ts -E</code>
        </p>
      </Empty>
    </Table>
  );
}

function Name(
  { name, ready, consumers, isPaused, priorities, isShort }: Row & { isShort: boolean },
): JSX.Element {
  const used = priorities.filter(({ ready }) => ready > 0);
  return (
    <>
      <TasksLink by="queue" is={name} />
      {isPaused && <span class="tag warn">paused</span>}
      {!isShort && ready !== null && ready > 0 && consumers === 0 && (
        <span class="tag warn">
          no consumer
        </span>
      )}
      {!isShort && used.length > 1 && (
        <span class="hint">
          {used.map(({ priority, ready }) => ` priority ${priority}: ${count(ready)}`).join(",")}
        </span>
      )}
    </>
  );
}

function number(label: string, of: (row: Row) => number | null, href?: string): Column<Row> {
  return {
    label,
    kind: "num",
    cell: (row) => href !== undefined && of(row) ? <a href={href}>{count(of(row))}</a> : count(of(row)),
  };
}

function Purge({ name, ready }: Row): JSX.Element {
  return (
    <Act
      label="Purge"
      of={name}
      may="purge"
      path={`queues/${encodeURIComponent(name)}/purge`}
      isDanger
      body={() => JSON.stringify({ confirm: name })}
      ask={{
        title: `Purge ${name}?`,
        text: `Its pending messages, ${count(ready)} at the moment, are deleted for good.`,
        typed: name,
      }}
    />
  );
}
