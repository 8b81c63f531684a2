/** One task: what happened to it and when, its arguments, result and traceback, the tasks around it. */

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
            <Panel title="Tasks around it">
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
              "Its stored state becomes ABORTED. A task that looks for that (Celery's AbortableTask) ends by " +
              "itself; any other goes on.",
          }}
        />
      )}
      {!isEnded && <Revoke path={`${path}/revoke`} name={name} />}
    </>
  );
}

/** Ends a task that has not ended: before it starts, or while it runs. */
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
          text: "Workers discard it before it starts. If it runs already, it goes on.",
        }}
      />
      <Act
        label="Terminate"
        may="terminate"
        path={path}
        isDanger
        ask={{
          title: `Terminate ${name}?`,
          text: "Workers discard it, and if it runs, its process gets the signal.",
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

/** What a task that is sent may be given: fields of a form, filled with what is known. */
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
    { name: "queue", label: "Queue", value: exact?.queue ?? "", hint: "Default: where routing sends it" },
    { name: "countdown", label: "Start in, seconds", type: "number" },
    { name: "expires", label: "Expires in, seconds", type: "number" },
    { name: "priority", label: "Priority", type: "number" },
  ];
}

/** What is posted; the texts of arguments go as they stand, so that big numbers keep their digits. */
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
  failed: "exact, from the message that its worker kept",
  dead: "exact, from the dead letter",
  parked: "exact, from the scheduled message",
  result: "exact, from the result store",
  queue: "exact, from the queue",
};

function Arguments({ data: { row, exact } }: { data: Data }): JSX.Element {
  const from = exact === null ? "as events tell them, possibly cut off" : SOURCES[exact.source];
  const [args, kwargs] = [exact?.args ?? row.args, exact?.kwargs ?? row.kwargs];
  return (
    <Panel title="Arguments" aside={<span class="hint">{from}</span>}>
      {args === null && kwargs === null && <p class="soft">Not known: its events did not tell them.</p>}
      {args !== null && (
        <div class="field">
          <h3>Positional</h3>
          <Value text={args} label="Positional arguments" />
        </div>
      )}
      {kwargs !== null && (
        <div class="field">
          <h3>By keyword</h3>
          <Value text={kwargs} label="Keyword arguments" />
        </div>
      )}
      {exact !== null && (
        <details>
          <summary>Headers of its message</summary>
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
  if (events.length === 0) return <p class="soft">No event of it was heard.</p>;
  return (
    <ol class="line">
      {events.map(({ type, at, worker, detail }, index) => (
        <li key={index} class={kindOf(EVENTS[type] ?? "")}>
          <b>{type.replace(/^task-/, "")}</b>
          <span class="num soft">{index === 0 ? "" : `+${span(at - events[index - 1]!.at)}`}</span>
          <p>
            <Time at={at} fine /> {worker !== null && <WorkerLink name={worker} />}
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
