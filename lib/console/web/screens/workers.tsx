/** Workers: status, running tasks, counts and queues. */

import type { JSX } from "preact";
import type { Reply, Shape } from "../../api/v1/schema.ts";
import { count } from "../format.ts";
import { Bar, Empty, Failed, Head, Panel, Time } from "../parts.tsx";
import { to } from "../place.ts";
import { Table } from "../table.tsx";
import { EventsAct, NoEvents } from "./no_events.tsx";

type Row = Shape<"WorkerRow">;

/** The page. */
export function Workers({ data: { rows } }: { data: Reply<"workers"> }): JSX.Element {
  const online = rows.filter(({ isOnline }) => isOnline);
  const isSilent = online.length > 0 && online.every(({ sendsTaskEvents }) => sendsTaskEvents === false);
  const told = `${online.length} online, ${rows.length - online.length} offline`;
  return (
    <>
      <Head title="Workers" aside={<span class="soft">{told}</span>}>
        {!isSilent && (
          <>
            <EventsAct />
            <EventsAct isOff />
          </>
        )}
      </Head>
      {isSilent && <NoEvents />}
      <Panel title="All workers" flush>
        <Table
          label="Workers"
          rows={rows}
          id={({ name }) => name}
          columns={[
            { label: "Worker", kind: "key", cell: Name },
            { label: "Status", cell: Online },
            { label: "Running", cell: Slots },
            { label: "Processed", kind: "num", cell: ({ processed }) => count(processed) },
            { label: "Succeeded", kind: "num", cell: ({ succeeded }) => count(succeeded) },
            { label: "Failed", kind: "num", cell: Failed },
            { label: "Retried", kind: "num", cell: ({ retried }) => count(retried) },
            {
              label: "Load",
              kind: "num",
              cell: ({ load }) => load?.map((one) => one.toFixed(2)).join(" ") ?? "–",
            },
            { label: "Queues", cell: ({ queues }) => queues?.join(", ") ?? "–" },
            { label: "Last event", kind: "num", cell: ({ lastSeen }) => <Time at={lastSeen} ago /> },
          ]}
        >
          <Empty title="No workers">
            <p>
              Start one on this broker: <code>lovage worker -A tasks.ts -E</code> or{" "}
              <code>celery -A tasks worker -E</code>
            </p>
          </Empty>
        </Table>
      </Panel>
    </>
  );
}

/** Shows whether a worker is online. */
export function Online({ isOnline }: { isOnline: boolean }): JSX.Element {
  return <span class={`state ${isOnline ? "ok" : "idle"}`}>{isOnline ? "Online" : "Offline"}</span>;
}

function Name({ name, software, version }: Row): JSX.Element {
  return (
    <>
      <a href={to(["worker", name])}>{name}</a>
      {software && <span class="hint">{` ${software} ${version ?? ""}`}</span>}
    </>
  );
}

/** Shows how many of its slots run a task. */
function Slots({ active, concurrency, pool }: Row): JSX.Element {
  if (active === null || concurrency === null) return <>{active ?? "–"}</>;
  const text = `${active} of ${concurrency}`;
  return (
    <>
      <span class="nowrap">{text}</span> {pool && <span class="hint">{pool}</span>}
      <Bar part={active} whole={concurrency} label={`${text} slots busy`} />
    </>
  );
}
