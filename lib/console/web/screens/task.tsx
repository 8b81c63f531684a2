/** One task: its events, arguments, result, traceback, and related tasks. */

import type { JSX } from "preact";
import type { Reply, Shape } from "../../api/v1/schema.ts";
import { Act, jsonOf, quote } from "../act.tsx";
import type { Field, Values } from "../dialog.tsx";
import { secondsOf, span } from "../format.ts";
import { Graph } from "../graph.tsx";
import {
  Facts,
  Head,
  kindOf,
  Note,
  Panel,
  State,
  TaskLink,
  TasksLink,
  Time,
  Value,
  WorkerLink,
} from "../parts.tsx";
import { to } from "../place.ts";
import { may, session } from "../store.ts";
import { Table } from "../table.tsx";

type Data = Reply<"task">;

const ENDED = ["SUCCESS", "FAILURE", "REVOKED", "REJECTED"];

/** The page. */
export function Task({ data }: { data: Data }): JSX.Element {
  const { row, stored, graph, children, traceback } = data;
  const trace = traceback ?? stored?.traceback;
  return (
    <>
      <Head
        title={row.name ?? "Task"}
        crumb={
          <>
            <a href={to(["tasks"])}>Tasks</a> / <span class="id">{row.id}</span>
          </>
        }
        aside={<State state={row.state} />}
      >
        <Buttons data={data} />
      </Head>
      {!data.canRetry && data.whyNot && may("retry") && <Note id="why-not">{data.whyNot}</Note>}
      <div class="grid">
        <div class="wide stack">
          <Outcome data={data} />
          <Arguments data={data} />
          {trace && (
            <Panel title="Traceback">
              <Value text={trace} label="Traceback" raw />
            </Panel>
          )}
          {graph.nodes.length > 1 && (
            <Panel title="Related tasks">
              <Graph graph={graph} />
            </Panel>
          )}
          {children.length > 0 && (
            <Panel title="Children" flush>
              <Children rows={children} />
            </Panel>
          )}
        </div>
        <div class="third stack">
          <Panel title="Timeline">
            <Timeline events={data.timeline} />
          </Panel>
          <Panel title="About">
            <About data={data} />
          </Panel>
        </div>
      </div>
    </>
  );
}

function Buttons({ data: { row, canRetry, exact } }: { data: Data }): JSX.Element {
  const path = `tasks/${encodeURIComponent(row.id)}`;
  const isEnded = ENDED.includes(row.state);
  const again = row.state === "SUCCESS" ? "Replay" : "Retry";
  const name = row.name ?? "this task";
  return (
    <>
      {may("retry") && (canRetry
        ? (
          <Act
            label={again}
            may="retry"
            path={`${path}/retry`}
            isMain={row.state === "FAILURE"}
            ask={{
              title: `${again} ${name}?`,
              text: "It is sent again with its exact arguments and headers, under a new id.",
            }}
          />
        )
        : <button type="button" disabled aria-describedby="why-not">{again}</button>)}
      <Act
        label="Edit and resend"
        may="resend"
        path={`${path}/resend`}
        ask={{ title: `Edit and resend ${name}`, button: "Send", fields: sendingFields(exact, row) }}
        body={sendingBody}
      />
      {!isEnded && session.value.hasResults && (
        <Act
          label="Abort"
          may="abort"
          path={`${path}/abort`}
          isDanger
          ask={{
            title: `Abort ${name}?`,
            text:
              "Its stored state becomes ABORTED. A task that checks for this (Celery’s AbortableTask) ends by " +
              "itself; any other task continues.",
          }}
        />
      )}
      {!isEnded && <Revoke path={`${path}/revoke`} name={name} />}
    </>
  );
}

/** Buttons that revoke a task before it starts, or terminate it while it runs. */
function Revoke({ path, name }: { path: string; name: string }): JSX.Element {
  return (
    <>
      <Act
        label="Revoke"
        may="revoke"
        path={path}
        isDanger
        ask={{
          title: `Revoke ${name}?`,
          text: "Workers discard it before it starts. If it is already running, it continues.",
        }}
      />
      <Act
        label="Terminate"
        may="terminate"
        path={path}
        isDanger
        ask={{
          title: `Terminate ${name}?`,
          text: "Workers discard it. If it is running, its process gets the signal.",
          fields: [{
            name: "signal",
            label: "Signal",
            value: "SIGTERM",
            choices: ["SIGTERM", "SIGKILL", "SIGINT", "SIGQUIT"],
          }],
        }}
        body={({ signal }) => jsonOf({ terminate: "true", signal: quote(signal) })}
      />
    </>
  );
}

/** Returns the form fields for sending a task, filled with the known values. */
export function sendingFields(exact: Shape<"Exact"> | null, row?: Shape<"TaskRow">): readonly Field[] {
  const asText = (text: string | null | undefined) =>
    exact === null && text ? { hint: `Known only as text: ${text}` } : {};
  return [
    {
      name: "args",
      label: "Arguments, a JSON list",
      type: "json",
      begins: "[",
      value: exact?.args ?? "",
      ...asText(row?.args),
    },
    {
      name: "kwargs",
      label: "Keyword arguments, a JSON object",
      type: "json",
      begins: "{",
      value: exact?.kwargs ?? "",
      ...asText(row?.kwargs),
    },
    { name: "queue", label: "Queue", value: exact?.queue ?? "", hint: "Default: as routed" },
    { name: "countdown", label: "Start in, seconds", type: "number" },
    { name: "expires", label: "Expires in, seconds", type: "number" },
    { name: "priority", label: "Priority", type: "number" },
  ];
}

/** Returns the JSON to post; arguments are sent as typed, so that big numbers keep all their digits. */
export function sendingBody({ name, args, kwargs, queue, countdown, expires, priority }: Values): string {
  return jsonOf({ name: quote(name), args, kwargs, queue: quote(queue), countdown, expires, priority });
}

function Outcome({ data: { row, stored } }: { data: Data }): JSX.Element | null {
  const text = row.exception ?? stored?.result ?? row.result;
  if (text === null) return null;
  const isBad = kindOf(row.state) === "bad" || row.exception !== null;
  return (
    <Panel title={isBad ? "Exception" : "Result"}>
      <Value text={text} label={isBad ? "Exception" : "Result"} />
    </Panel>
  );
}

const SOURCES: Readonly<Record<string, string>> = {
  failed: "exact, from the failed task’s message",
  dead: "exact, from the dead letter",
  parked: "exact, from the scheduled message",
  result: "exact, from the result store",
  queue: "exact, from the queue",
};

function Arguments({ data: { row, exact } }: { data: Data }): JSX.Element {
  const from = exact === null ? "from events, possibly cut off" : SOURCES[exact.source];
  const [args, kwargs] = [exact?.args ?? row.args, exact?.kwargs ?? row.kwargs];
  return (
    <Panel title="Arguments" aside={<span class="hint">{from}</span>}>
      {args === null && kwargs === null && <p class="soft">Unknown: its events did not include them.</p>}
      {args !== null && (
        <div class="field">
          <h3>Positional</h3>
          <Value text={args} label="Positional arguments" />
        </div>
      )}
      {kwargs !== null && (
        <div class="field">
          <h3>Keyword</h3>
          <Value text={kwargs} label="Keyword arguments" />
        </div>
      )}
      {exact !== null && (
        <details>
          <summary>Message headers</summary>
          <Value text={exact.headers} label="Headers" />
        </details>
      )}
    </Panel>
  );
}

const EVENTS: Readonly<Record<string, string>> = {
  "task-sent": "PENDING",
  "task-received": "RECEIVED",
  "task-started": "STARTED",
  "task-succeeded": "SUCCESS",
  "task-failed": "FAILURE",
  "task-retried": "RETRY",
  "task-revoked": "REVOKED",
  "task-rejected": "REJECTED",
};

function Timeline({ events }: { events: Data["timeline"] }): JSX.Element {
  if (events.length === 0) return <p class="soft">No events were received for this task.</p>;
  return (
    <ol class="line">
      {events.map(({ type, at, worker, detail }, index) => (
        <li key={index} class={kindOf(EVENTS[type] ?? "")}>
          <b>{type.replace(/^task-/, "")}</b>
          <span class="num soft">{index === 0 ? "" : `+${span(at - events[index - 1]!.at)}`}</span>
          <p>
            <Time at={at} fine />{" "}
            {type === "task-sent" ? worker : worker !== null && <WorkerLink name={worker} />}
          </p>
          {detail && (
            <p class="soft">
              <code>{detail.slice(0, 500)}</code>
            </p>
          )}
        </li>
      ))}
    </ol>
  );
}

function About({ data }: { data: Data }): JSX.Element {
  const { row, parent, root } = data;
  const task = (id: string | null, known: Shape<"TaskRow"> | null) =>
    id === null ? null : <TaskLink id={id} says={known?.name} />;
  return (
    <Facts
      facts={[
        ["Name", row.name === null ? null : <TasksLink by="name" is={row.name} />],
        ["Worker", row.worker === null ? null : <WorkerLink name={row.worker} />],
        ["Queue", row.queue === null ? null : <TasksLink by="queue" is={row.queue} />],
        ["Run time", row.runtime === null ? null : span(row.runtime)],
        ["Waited", row.waited === null ? null : span(row.waited)],
        ["Retries", row.retries || null],
        ["ETA", row.eta === null ? null : <Time at={secondsOf(row.eta)} />],
        ["Expires", row.expires === null ? null : <Time at={secondsOf(row.expires)} />],
        ["Parent", task(row.parentId, parent)],
        ["Root", row.rootId === row.id ? null : task(row.rootId, root)],
        ["Sent by", data.client],
        ["Exchange", data.exchange || null],
        ["Routing key", data.routingKey],
        ["Stored state", data.stored === null ? null : <State state={data.stored.state} />],
        ...Object.entries(data.extra).map(([name, value]) =>
          [name, <code>{typeof value === "string" ? value : JSON.stringify(value)}</code>] as const
        ),
      ]}
    />
  );
}

function Children({ rows }: { rows: Data["children"] }): JSX.Element {
  return (
    <Table
      label="Children"
      rows={rows}
      id={({ id }) => id}
      columns={[
        { label: "Task", kind: "key", cell: ({ id, name }) => <TaskLink id={id} says={name} /> },
        { label: "State", cell: State },
        { label: "Run time", kind: "num", cell: ({ runtime }) => span(runtime) },
        { label: "Received", kind: "num", cell: ({ received }) => <Time at={received} /> },
      ]}
    />
  );
}
