/** Dead letters: messages that no worker could handle, and the messages of tasks that failed for good. */

import type { JSX } from "preact";
import type { Reply, Shape } from "../../api/v1/schema.ts";
import { Act } from "../act.tsx";
import { bytes, count } from "../format.ts";
import { Args, Empty, Head, Note, Panel, TaskLink, Time } from "../parts.tsx";
import { place } from "../place.ts";
import { may } from "../store.ts";
import { chosen, Table } from "../table.tsx";
import { Choices } from "../tabs.tsx";

type Row = Shape<"Letter">;
type Kind = "dead" | "failed";

const EMPTY: Record<"dead" | "failed", readonly [title: string, text: string]> = {
  dead: [
    "No dead letters",
    "A message is kept here if no worker can decode it or knows its task, or if workers keep dying on it.",
  ],
  failed: [
    "No failed tasks",
    "Lovage's workers keep the messages of tasks that failed for good, within the limits of failed_keep.",
  ],
};

/** The page. */
export function Dead({ dead, failed }: { dead: Reply<"letters">; failed: Reply<"letters"> }): JSX.Element {
  const kind: Kind = place.value.query.get("kind") === "failed" ? "failed" : "dead";
  const { rows, total, why } = kind === "failed" ? failed : dead;
  const [title, text] = EMPTY[kind];
  const ids = rows.map(({ id }) => id).filter((id) => chosen.value.has(id));
  return (
    <>
      <Head title="Dead letters" />
      <Choices
        name="kind"
        label="Which messages"
        choices={[["", "Dead letters", dead.total], ["failed", "Failed tasks", failed.total]]}
      />
      {why && <Note>{why}</Note>}
      {total > rows.length && (
        <Note>There are {count(total)}; the newest {count(rows.length)} are shown.</Note>
      )}
      <Panel
        title={kind === "failed" ? "Tasks that failed for good" : "Messages that no worker could handle"}
        flush
        aside={ids.length > 0 && (
          <div class="acts">
            <Letters kind={kind} ids={ids} what={`${ids.length} selected`} />
          </div>
        )}
      >
        <Table
          label="Letters"
          rows={rows}
          id={({ id }) => id}
          tick={may("letter_retry")}
          columns={[
            {
              label: "Task",
              kind: "key",
              cell: ({ taskId, name, id }) =>
                taskId === null ? name ?? id : <TaskLink id={taskId} says={name} />,
            },
            { label: "Reason", cell: ({ reason }) => <span class="clip" title={reason}>{reason}</span> },
            { label: "Arguments", cell: Args },
            { label: "Queue", cell: ({ queue }) => queue ?? "–" },
            { label: "Since", kind: "num", cell: ({ at }) => <Time at={at} ago /> },
            { label: "Size", kind: "num", cell: (row) => bytes(row.bytes) },
            {
              label: "Actions",
              kind: "acts",
              cell: (row) => <Letters kind={kind} ids={[row.id]} what={row.name ?? row.id} row={row} />,
            },
          ]}
        >
          <Empty title={title}>
            <p>{text}</p>
          </Empty>
        </Table>
      </Panel>
    </>
  );
}

/** Buttons that resend letters or delete them. */
function Letters(
  { kind, ids, what, row }: { kind: Kind; ids: readonly string[]; what: string; row?: Row },
): JSX.Element {
  const path = `letters/${kind}`;
  const body = () => JSON.stringify({ ids });
  return (
    <>
      {row?.canRetry === false
        ? may("letter_retry") && <button type="button" disabled title={row.whyNot ?? ""}>Retry</button>
        : (
          <Act
            label="Retry"
            of={what}
            may="letter_retry"
            path={`${path}/retry`}
            body={body}
            {...(row ? {} : { ask: { title: `Retry ${what}?` } })}
          />
        )}
      <Act
        label="Drop"
        of={what}
        may="letter_drop"
        path={`${path}/drop`}
        body={body}
        isDanger
        ask={{ title: `Drop ${what}?`, text: "Its message is deleted for good." }}
      />
    </>
  );
}
