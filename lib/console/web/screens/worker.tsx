/** One worker: its pool, queues, tasks, limits, settings, statistics, and actions on it. */

import type { ComponentChild, JSX } from "preact";
import type { Reply, Shape } from "../../api/v1/schema.ts";
import { Act, type Action, jsonOf, quote } from "../act.tsx";
import type { Field } from "../dialog.tsx";
import { count, secondsOf, span } from "../format.ts";
import { Args, Empty, Facts, Head, Note, Panel, TaskLink, TasksLink, Time, Value } from "../parts.tsx";
import { place, to } from "../place.ts";
import { Table } from "../table.tsx";
import { Choices } from "../tabs.tsx";
import { Online } from "./workers.tsx";

type Data = Reply<"worker">;
type Request = Shape<"RequestRow">;

/** The page. */
export function Worker({ data }: { data: Data }): JSX.Element {
  const { row } = data;
  const Tab = TABS[place.value.query.get("tab") ?? ""] ?? Pool;
  return (
    <>
      <Head title={row.name} crumb={<a href={to(["workers"])}>Workers</a>} aside={<Online {...row} />}>
        {row.isOnline && (
          <Act
            label="Shut down"
            may="shutdown"
            path={pathOf(row, "shutdown")}
            isDanger
            ask={{
              title: `Shut down ${row.name}?`,
              text:
                "It finishes its running tasks, returns the others to their queues, and exits. The console cannot " +
                "start it again.",
              typed: row.name,
            }}
          />
        )}
      </Head>
      {data.answered === false && (
        <Note kind="warn">
          This worker did not answer. This data comes from its events only.
        </Note>
      )}
      {data.answered === null && <Note>Waiting for this worker’s answer …</Note>}
      <Choices
        name="tab"
        label="About this worker"
        choices={[
          ["", "Pool"],
          ["queues", "Queues", data.queues.length],
          ["active", "Active", data.active.length],
          ["reserved", "Reserved", data.reserved.length],
          ["scheduled", "Scheduled", data.scheduled.length],
          ["revoked", "Revoked", data.revoked.length],
          ["limits", "Limits", data.registered.length],
          ["conf", "Configuration"],
          ["stats", "Statistics"],
        ]}
      />
      <Tab {...data} />
    </>
  );
}

const TABS: Readonly<Record<string, (data: Data) => JSX.Element>> = {
  queues: Queues,
  active: ({ active }) => <Requests title="Running tasks" rows={active} kind="active" />,
  reserved: ({ reserved }) => (
    <Requests title="Tasks waiting in this worker" rows={reserved} kind="reserved" />
  ),
  scheduled: (data) => (
    <Requests title="Tasks held until they are due" rows={data.scheduled} kind="scheduled" />
  ),
  revoked: ({ revoked }) => (
    <Panel title="Revoked tasks" flush>
      <Table
        label="Revoked tasks"
        rows={revoked}
        id={(id) => id}
        columns={[{ label: "Task", kind: "key", cell: (id) => <TaskLink id={id} /> }]}
      >
        <Empty title="No revoked tasks">
          <p>Ids of revoked tasks are listed here as long as the worker remembers them.</p>
        </Empty>
      </Table>
    </Panel>
  ),
  limits: Limits,
  conf: ({ conf }) => <Members title="Configuration" values={conf} />,
  stats: ({ stats }) => <Members title="Statistics" values={stats} />,
};

function pathOf({ name }: Shape<"WorkerRow">, action: string): string {
  return `workers/${encodeURIComponent(name)}/${action}`;
}

/** A button that changes the pool and asks for the numbers. */
function PoolAct(
  { row, label, of, fields }: {
    row: Shape<"WorkerRow">;
    label: string;
    of: "grow" | "shrink" | "autoscale";
    fields: readonly (readonly [name: string, label: string, value: number])[];
  },
): JSX.Element {
  const asked = fields.map(([name, label, value]) => ({
    name,
    label,
    value: String(value),
    type: "number",
    isRequired: true,
  } as const));
  return (
    <Act
      label={label}
      may={`pool_${of}`}
      path={pathOf(row, `pool/${of}`)}
      ask={{ title: `${label} the pool of ${row.name}`, fields: asked }}
      body={jsonOf}
    />
  );
}

function Pool(data: Data): JSX.Element {
  const { row, pool, poolMin, poolMax, uptime } = data;
  const buttons = row.isOnline && (
    <div class="acts">
      <PoolAct row={row} label="Grow" of="grow" fields={[["n", "Number of slots", 1]]} />
      <PoolAct row={row} label="Shrink" of="shrink" fields={[["n", "Number of slots", 1]]} />
      <PoolAct
        row={row}
        label="Autoscale"
        of="autoscale"
        fields={[["min", "Minimum slots", poolMin ?? 1], [
          "max",
          "Maximum slots",
          poolMax ?? row.concurrency ?? 1,
        ]]}
      />
      <Act
        label="Restart pool"
        may="pool_restart"
        path={pathOf(row, "pool/restart")}
        ask={{ title: "Restart the pool?", text: "All slots end and are started again." }}
      />
    </div>
  );
  const told = Object.entries(pool).filter(([, value]) => typeof value !== "object");
  return (
    <div class="grid">
      <Panel title="Pool" class="half" aside={buttons}>
        <Facts
          facts={[
            ["Kind", row.pool],
            ["Slots", row.concurrency],
            ["Running", row.active],
            ["Autoscaling", poolMax === null ? null : `${poolMin ?? 0} to ${poolMax}`],
            ["Prefetch", data.prefetch],
            ["Processed", count(row.processed)],
            ...told.map(([name, value]) => [name, <code>{String(value)}</code>] as const),
          ]}
        />
      </Panel>
      <Panel title="Process" class="half">
        <Facts
          facts={[
            ["Software", row.software && `${row.software} ${row.version ?? ""}`],
            ["System", row.system],
            ["PID", row.pid],
            ["Uptime", uptime === null ? null : span(uptime)],
            ["Load", row.load?.map((one) => one.toFixed(2)).join(", ")],
            ["Task events", row.sendsTaskEvents === null ? null : row.sendsTaskEvents ? "sent" : "not sent"],
            ["Last event", <Time at={row.lastSeen} ago />],
            ["Last answer", <Time at={data.askedAt} ago />],
          ]}
        />
      </Panel>
    </div>
  );
}

function Queues({ row, queues }: Data): JSX.Element {
  const add: Action = {
    label: "Add consumer",
    may: "add_consumer",
    path: pathOf(row, "consumers/add"),
    ask: {
      title: "Consume another queue",
      fields: [
        { name: "queue", label: "Queue", isRequired: true },
        { name: "exchange", label: "Exchange", hint: "Default: the queue’s name" },
        { name: "exchangeType", label: "Exchange type", hint: "Default: direct" },
        { name: "routingKey", label: "Routing key", hint: "Default: the queue’s name" },
      ],
    },
    body: (values) =>
      jsonOf(Object.fromEntries(Object.entries(values).map(([name, text]) => [name, quote(text)]))),
  };
  return (
    <Panel title="Consumed queues" flush aside={row.isOnline && <Act {...add} />}>
      <Table
        label="Consumed queues"
        rows={queues}
        id={({ name }) => name}
        columns={[
          {
            label: "Queue",
            kind: "key",
            cell: ({ name }) => <TasksLink by="queue" is={name} />,
          },
          {
            label: "Exchange",
            cell: ({ exchange, exchangeType }) => `${exchange || "–"} ${exchangeType ?? ""}`,
          },
          { label: "Routing key", cell: ({ routingKey }) => routingKey ?? "–" },
          { label: "Durable", cell: ({ isDurable }) => isDurable === null ? "–" : isDurable ? "yes" : "no" },
          {
            label: "Actions",
            kind: "acts",
            cell: ({ name }) => (
              <Act
                label="Cancel consumer"
                of={name}
                may="cancel_consumer"
                path={pathOf(row, "consumers/cancel")}
                isDanger
                ask={{
                  title: `Stop consuming ${name}?`,
                  text: `${row.name} takes no more tasks from it. Other workers continue.`,
                  button: "Stop consuming",
                }}
                body={() => jsonOf({ queue: quote(name) })}
              />
            ),
          },
        ]}
      >
        <Empty title="This worker consumes no queues" />
      </Table>
    </Panel>
  );
}

function Requests(
  { title, rows, kind }: {
    title: string;
    rows: readonly Request[];
    kind: "active" | "reserved" | "scheduled";
  },
): JSX.Element {
  const end = ({ id, name }: Request): JSX.Element => {
    const isActive = kind === "active";
    return (
      <Act
        label={isActive ? "Terminate" : "Revoke"}
        of={name}
        may={isActive ? "terminate" : "revoke"}
        path={`tasks/${encodeURIComponent(id)}/revoke`}
        isDanger
        ask={{
          title: `${isActive ? "Terminate" : "Revoke"} ${name}?`,
          ...(isActive ? { text: "Its process gets SIGTERM." } : {}),
        }}
        body={() => jsonOf({ terminate: String(isActive) })}
      />
    );
  };
  return (
    <Panel title={title} flush>
      <Table
        label={title}
        rows={rows}
        id={({ id }) => id}
        columns={[
          { label: "Task", kind: "key", cell: ({ id, name }) => <TaskLink id={id} says={name} /> },
          { label: "Id", cell: ({ id }) => <span class="id">{id}</span> },
          { label: "Arguments", cell: Args },
          kind === "active" &&
          { label: "Started", kind: "num", cell: ({ started }) => <Time at={started} ago /> },
          kind === "active" && { label: "PID", kind: "num", cell: ({ pid }) => pid ?? "–" },
          kind === "scheduled" && {
            label: "Due",
            kind: "num",
            cell: ({ eta }) => <Time at={secondsOf(eta)} ago />,
          },
          kind !== "active" && { label: "Priority", kind: "num", cell: ({ priority }) => priority ?? "–" },
          { label: "Actions", kind: "acts", cell: end },
        ]}
      >
        <Empty title="None at the moment" />
      </Table>
    </Panel>
  );
}

function Limits({ row, registered }: Data): JSX.Element {
  return (
    <Panel title="Registered tasks and their limits" flush>
      <Table
        label="Registered tasks and their limits"
        rows={registered}
        id={({ name }) => name}
        columns={[
          {
            label: "Task",
            kind: "key",
            cell: ({ name }) => <TasksLink by="name" is={name} />,
          },
          { label: "Rate limit", kind: "num", cell: ({ rateLimit }) => rateLimit ?? "–" },
          { label: "Soft time limit", kind: "num", cell: ({ softTimeLimit }) => span(softTimeLimit) },
          { label: "Time limit", kind: "num", cell: ({ timeLimit }) => span(timeLimit) },
          { label: "Actions", kind: "acts", cell: (task) => <LimitActs worker={row.name} task={task} /> },
        ]}
      >
        <Empty title="This worker did not report its tasks" />
      </Table>
    </Panel>
  );
}

function LimitActs({ worker, task }: { worker: string; task: Shape<"TaskLimits"> }): JSX.Element {
  const { name, rateLimit, softTimeLimit, timeLimit } = task;
  const workers = JSON.stringify([worker]);
  const path = `task-names/${encodeURIComponent(name)}`;
  const seconds = (name: string, label: string, value: number | null, hint: string): Field => ({
    name,
    label,
    type: "number",
    value: String(value ?? ""),
    hint,
  });
  return (
    <>
      <Act
        label="Rate limit"
        of={name}
        may="rate_limit"
        path={`${path}/rate-limit`}
        ask={{
          title: `Rate limit of ${name}`,
          button: "Set",
          fields: [{
            name: "rate",
            label: "Rate",
            value: rateLimit ?? "",
            hint: "10/s, 100/m, 1000/h; 0: no limit",
            isRequired: true,
          }],
        }}
        body={({ rate }) => jsonOf({ rate: quote(rate), workers })}
      />
      <Act
        label="Time limit"
        of={name}
        may="time_limit"
        path={`${path}/time-limit`}
        ask={{
          title: `Time limits of ${name}`,
          button: "Set",
          fields: [
            seconds("soft", "Soft, seconds", softTimeLimit, "The task can react to it; 0: no limit"),
            seconds("hard", "Hard, seconds", timeLimit, "The task is killed; 0: no limit"),
          ],
        }}
        body={({ soft, hard }) => jsonOf({ soft, hard, workers })}
      />
    </>
  );
}

/** Settings or statistics by name; nested values as JSON. */
function Members(
  { title, values }: { title: string; values: Readonly<Record<string, unknown>> },
): JSX.Element {
  const names = Object.keys(values).sort();
  return (
    <Panel title={title}>
      {names.length === 0
        ? <Empty title="This worker did not report this" />
        : <Facts facts={names.map((name) => [name, told(name, values[name])])} />}
    </Panel>
  );
}

function told(name: string, value: unknown): ComponentChild {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length < 100 ? <code>{text || "“”"}</code> : <Value text={text} label={name} />;
}
