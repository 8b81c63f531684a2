/** Scheduled: tasks that are not due yet, at the broker or in a worker. */

import type { JSX } from "preact";
import type { Reply } from "../../api/v1/schema.ts";
import { Act } from "../act.tsx";
import { Args, Empty, Head, Note, Panel, TaskLink, Time, WorkerLink } from "../parts.tsx";
import { Table } from "../table.tsx";

/** The page. */
export function Scheduled({ data: { rows, isCut } }: { data: Reply<"scheduled"> }): JSX.Element {
  return (
    <>
      <Head title="Scheduled" />
      {isCut && <Note>There are more; the {rows.length} that are due first are shown.</Note>}
      <Panel title="Tasks that are not due yet" flush>
        <Table
          label="Scheduled tasks"
          rows={rows}
          id={({ id }) => id}
          columns={[
            { label: "Task", kind: "key", cell: ({ id, name }) => <TaskLink id={id} says={name} /> },
            { label: "Due", kind: "num", cell: ({ due }) => <Time at={due} ago /> },
            { label: "At", kind: "num", cell: ({ due }) => <Time at={due} /> },
            { label: "Arguments", cell: Args },
            { label: "Queue", cell: ({ queue }) => queue ?? "–" },
            {
              label: "Held by",
              cell: ({ worker }) => worker === null ? "the broker" : <WorkerLink name={worker} />,
            },
            { label: "Retries", kind: "num", cell: ({ retries }) => retries ?? "–" },
            {
              label: "Actions",
              kind: "acts",
              cell: ({ id, name }) => (
                <Act
                  label="Revoke"
                  of={name ?? id}
                  may="revoke"
                  path={`tasks/${encodeURIComponent(id)}/revoke`}
                  isDanger
                  ask={{ title: `Revoke ${name ?? id}?`, text: "Workers discard it when it is due." }}
                />
              ),
            },
          ]}
        >
          <Empty title="Nothing is scheduled">
            <p>
              Tasks sent with <code>countdown</code> or{" "}
              <code>eta</code>, and pending retries, are listed here until they are due.
            </p>
          </Empty>
        </Table>
      </Panel>
    </>
  );
}
