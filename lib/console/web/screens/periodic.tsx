/** Periodic: beat's entries, their last and next runs, and the leading beat. */

import type { JSX } from "preact";
import type { Reply, Shape } from "../../api/v1/schema.ts";
import { count } from "../format.ts";
import { Clip, Empty, Head, Note, Panel, State, TaskLink, TasksLink, Time } from "../parts.tsx";
import { to } from "../place.ts";
import { may } from "../store.ts";
import { Table } from "../table.tsx";

type Row = Shape<"PeriodicRow">;

/** The page. */
export function Periodic(
  { data: { rows, leader, why, whyNoLeader } }: { data: Reply<"periodic"> },
): JSX.Element {
  return (
    <>
      <Head title="Periodic" aside={leader && <span class="soft">led by {leader}</span>} />
      {whyNoLeader && rows.length > 0 && <Note>{whyNoLeader}</Note>}
      <Panel title="Beat entries" flush>
        <Table
          label="Periodic tasks"
          rows={rows}
          id={({ name }) => name}
          columns={[
            { label: "Entry", kind: "key", cell: Name },
            { label: "Task", cell: ({ task }) => <TasksLink by="name" is={task} /> },
            {
              label: "Schedule",
              cell: ({ schedule, inWords, timezone }) => (
                <span title={schedule}>{inWords} {timezone && <span class="hint">{timezone}</span>}</span>
              ),
            },
            {
              label: "Arguments",
              cell: ({ args, kwargs }) => (
                <Clip text={[args, kwargs].filter((text) => !/^[[({]?[\])}]?$/.test(text)).join(" ")} />
              ),
            },
            { label: "Next", kind: "num", cell: ({ next }) => <Time at={next[0]} ago /> },
            { label: "Last", kind: "num", cell: Last },
            { label: "Runs", kind: "num", cell: ({ totalRuns }) => count(totalRuns) },
            {
              label: "Actions",
              kind: "acts",
              cell: ({ task }) =>
                may("run") && (
                  <a class="button" href={to(["run"], { name: task })}>
                    Run task<span class="sr">{` ${task}`}</span>
                  </a>
                ),
            },
          ]}
        >
          <Empty title="No entries">
            <p>{why ?? "Entries of beat_schedule appear here while a beat runs on this broker."}</p>
          </Empty>
        </Table>
      </Panel>
    </>
  );
}

function Name({ name, isEnabled, queue }: Row): JSX.Element {
  return (
    <>
      {name} {!isEnabled && <span class="tag">off</span>}
      {queue && <span class="hint">{queue}</span>}
    </>
  );
}

function Last({ lastRun, lastId, lastState }: Row): JSX.Element {
  const when = <Time at={lastRun} ago />;
  return (
    <>
      {lastId === null ? when : <TaskLink id={lastId} says={when} />}{" "}
      {lastState && <State state={lastState} />}
    </>
  );
}
