/** Tasks: search, sorting, pages, a choice of columns, and actions on many tasks. */

import type { JSX } from "preact";
import type { Body, Reply, Shape } from "../../api/v1/schema.ts";
import { carryOut, regret } from "../act.tsx";
import { count, secondsOf, span } from "../format.ts";
import { Clip, Empty, Head, Note, Panel, State, TaskLink, Time, WorkerLink } from "../parts.tsx";
import { here, place, to } from "../place.ts";
import { call, may, session } from "../store.ts";
import { chosen, type Column, Table } from "../table.tsx";
import { EventsAct } from "./no_events.tsx";

type Row = Shape<"TaskRow">;
type BulkAction = Body<"bulk">["action"];

/** Columns by their names in addresses and in --tasks-columns. */
const COLUMNS: Readonly<Record<string, Column<Row>>> = {
  name: {
    label: "Name",
    kind: "key",
    sort: "name",
    cell: ({ id, name }) => <TaskLink id={id} says={name} />,
  },
  uuid: { label: "Id", cell: ({ id }) => <TaskLink id={id} /> },
  state: { label: "State", sort: "state", cell: State },
  args: { label: "Arguments", cell: ({ args }) => <Clip text={args} /> },
  kwargs: { label: "Keyword arguments", cell: ({ kwargs }) => <Clip text={kwargs} /> },
  result: { label: "Result", cell: ({ result, exception }) => <Clip text={result ?? exception} /> },
  exception: { label: "Exception", cell: ({ exception }) => <Clip text={exception} /> },
  sent: { label: "Sent", kind: "num", cell: ({ sent }) => <Time at={sent} /> },
  received: {
    label: "Received",
    kind: "num",
    sort: "received",
    cell: ({ received }) => <Time at={received} />,
  },
  started: { label: "Started", kind: "num", sort: "started", cell: ({ started }) => <Time at={started} /> },
  ended: { label: "Ended", kind: "num", sort: "ended", cell: ({ ended }) => <Time at={ended} /> },
  runtime: { label: "Run time", kind: "num", sort: "runtime", cell: ({ runtime }) => span(runtime) },
  waited: { label: "Waited", kind: "num", cell: ({ waited }) => span(waited) },
  worker: { label: "Worker", sort: "worker", cell: ({ worker }) => <WorkerLink name={worker} /> },
  queue: { label: "Queue", cell: ({ queue }) => queue ?? "–" },
  retries: { label: "Retries", kind: "num", sort: "retries", cell: ({ retries }) => retries ?? 0 },
  eta: { label: "ETA", kind: "num", cell: ({ eta }) => <Time at={secondsOf(eta)} /> },
  expires: { label: "Expires", kind: "num", cell: ({ expires }) => <Time at={secondsOf(expires)} /> },
  root: { label: "Root", cell: ({ rootId }) => rootId === null ? "–" : <TaskLink id={rootId} /> },
  parent: { label: "Parent", cell: ({ parentId }) => parentId === null ? "–" : <TaskLink id={parentId} /> },
};

const DEFAULT_COLUMNS = ["name", "state", "args", "result", "received", "runtime", "worker"];
/** Flower's default columns: DEFAULT_COLUMNS are shown instead. */
const FLOWERS = "name,uuid,state,args,kwargs,result,received,started,runtime,worker";
const STATES = ["", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED", "RECEIVED"];

/** Returns the API path for the query of the address. */
export function tasksPath(query: URLSearchParams): string {
  const asked = new URLSearchParams();
  for (const name of ["search", "sort", "limit", "cursor"]) {
    const value = query.get(name);
    if (value) asked.set(name, value);
  }
  return asked.size > 0 ? `tasks?${asked}` : "tasks";
}

/** The page. */
export function Tasks({ data }: { data: Reply<"tasks"> }): JSX.Element {
  const { query } = place.value;
  const search = query.get("search") ?? "";
  const names = columnNames(query);
  const found = `${count(data.total)}${data.isTotalExact ? "" : " or more"} ${search ? "found" : "known"}`;
  return (
    <>
      <Head title="Tasks" aside={<span class="soft">{found}</span>}>
        {may("run") && <a class="button" href={to(["run"])}>Run task</a>}
      </Head>
      <Search search={search} names={names} />
      <Panel title="Tasks by search" flush aside={<States search={search} />}>
        <Bulk search={search} total={data.total} isExact={data.isTotalExact} />
        <Table
          label="Tasks"
          rows={data.rows}
          id={({ id }) => id}
          sorted="-received"
          columns={names.map((name) => COLUMNS[name]!)}
          tick={mayBulk()}
        >
          <Nothing search={search} />
        </Table>
        <Pager data={data} />
      </Panel>
    </>
  );
}

/** The page shown when the API refuses the search or does not answer. */
export function NoTasks({ fault: { error, hint } }: { fault: Shape<"Fault"> }): JSX.Element {
  const { query } = place.value;
  return (
    <>
      <Head title="Tasks" />
      <Search search={query.get("search") ?? ""} names={columnNames(query)} />
      <Note kind="bad">{error}. {hint}</Note>
    </>
  );
}

function columnNames(query: URLSearchParams): string[] {
  const asked = query.getAll("cols");
  const { taskColumns } = session.value;
  const names = asked.length > 0 ? asked : taskColumns.join() === FLOWERS ? DEFAULT_COLUMNS : taskColumns;
  const known = Object.keys(COLUMNS).filter((name) => names.includes(name));
  return known.length > 0 ? known : DEFAULT_COLUMNS;
}

function Search({ search, names }: { search: string; names: readonly string[] }): JSX.Element {
  const { query } = place.value;
  const kept = ["sort", "limit"].map((name) =>
    query.get(name) && <input type="hidden" name={name} value={query.get(name)!} />
  );
  return (
    <div class="search">
      <form class="search box" action={to(["tasks"])}>
        <div class="box">
          <input
            key={search}
            type="search"
            name="search"
            defaultValue={search}
            placeholder="state:FAILURE name:shop runtime:>5s"
            aria-label="Search tasks"
            aria-keyshortcuts="/"
            maxLength={2048}
            spellcheck={false}
            autocomplete="off"
          />
        </div>
        {kept}
        {query.getAll("cols").map((name) => <input type="hidden" name="cols" value={name} />)}
        <button type="submit">Search</button>
      </form>
      <details class="menu">
        <summary class="button">Columns</summary>
        <form action={to(["tasks"])} data-auto>
          <input type="hidden" name="search" value={search} />
          {kept}
          {Object.entries(COLUMNS).map(([name, { label }]) => (
            <label key={name} class="check">
              <input type="checkbox" name="cols" value={name} checked={names.includes(name)} />
              {label}
            </label>
          ))}
          <noscript>
            <button type="submit">Show</button>
          </noscript>
        </form>
      </details>
      <Help />
    </div>
  );
}

function Help(): JSX.Element {
  const lines = [
    ["add timeout", "both words, in any field"],
    ['"not found"', "the exact phrase"],
    ["state:FAILURE", "a field; also name: id: worker: queue: args: kwargs: result: exception: root:"],
    ["runtime:>5s", "longer than 5 s; also <, with units ms s m h d"],
    ["received:<1h", "less than an hour ago; also sent: started: ended:"],
    ["a OR b, NOT c, ( )", "combinations; a space means AND"],
  ];
  return (
    <details class="menu">
      <summary class="button">Help</summary>
      <div class="wide">
        <dl class="facts">
          {lines.map(([what, why]) => [
            <dt>
              <code>{what}</code>
            </dt>,
            <dd>{why}</dd>,
          ])}
        </dl>
      </div>
    </details>
  );
}

/** Links that add a state to the search. */
function States({ search }: { search: string }): JSX.Element {
  const rest = search.replace(/(^|\s)state:\w+/g, " ").trim();
  const now = /(?:^|\s)state:(\w+)/.exec(search)?.[1] ?? "";
  return (
    <nav class="pick" aria-label="State">
      {STATES.map((state) => (
        <a
          key={state}
          href={here({ search: `${state && `state:${state} `}${rest}`.trim(), cursor: null })}
          aria-current={state === now ? "true" : undefined}
        >
          {state ? state[0] + state.slice(1).toLowerCase() : "All"}
        </a>
      ))}
    </nav>
  );
}

function Nothing({ search }: { search: string }): JSX.Element {
  if (search) {
    return (
      <Empty title="No task matches">
        <p>
          The search covered all tasks in the history.{" "}
          <a href={here({ search: null, cursor: null })}>Show all tasks</a>
        </p>
      </Empty>
    );
  }
  return (
    <Empty title="No tasks yet">
      <p>
        Tasks are known from their events. Start workers with{" "}
        <code>worker -E</code>, or enable events on the running workers.
      </p>
      <EventsAct />
    </Empty>
  );
}

function Pager({ data: { next, previous, rows, tookMs } }: { data: Reply<"tasks"> }): JSX.Element {
  return (
    <div class="pager">
      <span>{count(rows.length)} on this page, in {span(tookMs / 1000)}</span>
      <nav class="acts" aria-label="Newer and older">
        {previous === null
          ? <button type="submit" disabled>Newer</button>
          : <a class="button" rel="prev" href={here({ cursor: previous })}>Newer</a>}
        {next === null
          ? <button type="submit" disabled>Older</button>
          : <a class="button" rel="next" href={here({ cursor: next })}>Older</a>}
      </nav>
    </div>
  );
}

function mayBulk(): boolean {
  return may("retry") || may("revoke") || may("terminate");
}

/** Buttons that act on the selected tasks, else on all matches of the search. */
function Bulk(
  { search, total, isExact }: { search: string; total: number; isExact: boolean },
): JSX.Element | null {
  if (!mayBulk()) return null;
  const { size } = chosen.value;
  const isIdle = size === 0 && (search === "" || total === 0);
  const what = size > 0 ? `${count(size)} selected` : `All ${count(total)}${isExact ? "" : "+"} found`;
  const of = size > 0 ? "the selected tasks" : "all found tasks";
  return (
    <div class="bulk">
      <span class="soft">{isIdle ? "Select tasks, or search, to act on many at once" : what}</span>
      {!isIdle &&
        (["retry", "revoke", "terminate"] as const).filter(may).map((action) => (
          <button
            key={action}
            type="button"
            class={action === "retry" ? "" : "danger"}
            onClick={() => bulk(action, search)}
          >
            {action[0]!.toUpperCase() + action.slice(1)}
            <span class="sr">{` ${of}`}</span>
          </button>
        ))}
      {size > 0 && (
        <button type="button" class="plain" onClick={() => chosen.value = new Set()}>Select none</button>
      )}
    </div>
  );
}

/** Counts the tasks, asks for confirmation, and acts only if no more tasks match then. */
async function bulk(action: BulkAction, search: string): Promise<void> {
  const label = action[0]!.toUpperCase() + action.slice(1);
  const what = chosen.value.size > 0 ? { ids: [...chosen.value] } : { search };
  const body = (more: object) => JSON.stringify({ action, ...what, ...more });
  let counted: Reply<"bulk">;
  try {
    counted = await call<Reply<"bulk">>("bulk", body({ isDryRun: true }));
  } catch (error) {
    return regret(label, error);
  }
  const { count: many, isCountExact } = counted;
  const told = `${count(many)}${isCountExact ? "" : " or more"} ${many === 1 ? "task" : "tasks"}`;
  const isDone = await carryOut({
    label,
    may: action,
    path: "bulk",
    body: () => body({ count: many }),
    ask: {
      title: `${label} ${told}?`,
      text: action === "retry"
        ? "Each is sent again with its exact arguments, under a new id. Tasks without known arguments are left out."
        : action === "revoke"
        ? "Workers discard them before they start. Running tasks continue."
        : "Workers discard them. Running tasks are ended with SIGTERM.",
      button: `${label} ${told}`,
    },
    isDanger: action !== "retry",
  });
  if (isDone) chosen.value = new Set();
}
