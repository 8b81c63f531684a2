/**
 * The pages: their addresses, the data they need from the API, and their components; and the frame around
 * them.
 */

import type { JSX } from "preact";
import type { Reply } from "../api/v1/schema.ts";
import { how, isLive } from "./live.ts";
import { Brand } from "./brand.tsx";
import { zone } from "./clock.ts";
import { Dialog } from "./dialog.tsx";
import { Empty, Note, Panel, Time } from "./parts.tsx";
import { address, type Place, place, prefix, to } from "./place.ts";
import { entry, isLoading, session } from "./store.ts";
import { setTheme, theme } from "./theme.ts";
import { Toasts } from "./toasts.tsx";
import { Dead } from "./screens/dead.tsx";
import { Login } from "./screens/login.tsx";
import { Overview } from "./screens/overview.tsx";
import { Periodic } from "./screens/periodic.tsx";
import { Queues } from "./screens/queues.tsx";
import { Run } from "./screens/run.tsx";
import { Scheduled } from "./screens/scheduled.tsx";
import { Task } from "./screens/task.tsx";
import { NoTasks, Tasks, tasksPath } from "./screens/tasks.tsx";
import { Worker } from "./screens/worker.tsx";
import { Workers } from "./screens/workers.tsx";

type Letters = Reply<"letters">;

interface Page {
  /** The title, and the text of its link. */
  readonly title: string;
  /** The link that is marked while the page is shown; default: its own. */
  readonly under?: string;
  /** Returns the API paths that it needs. `name` is the second part of the address. */
  readonly needs: (query: URLSearchParams, name: string) => readonly string[];
  readonly draw: (data: readonly unknown[]) => JSX.Element;
}

const within = (query: URLSearchParams) =>
  query.get("window") ? `?window=${encodeURIComponent(query.get("window")!)}` : "";

/** Draws a page from one answer. */
function one<T>(View: (props: { data: T }) => JSX.Element): Page["draw"] {
  return ([data]) => <View data={data as T} />;
}

/** Pages by the first part of the address; a name follows a key with `/`. */
const PAGES: Readonly<Record<string, Page>> = {
  "": {
    title: "Overview",
    needs: (query) => [`overview${within(query)}`],
    draw: one(Overview),
  },
  "tasks": { title: "Tasks", needs: (query) => [tasksPath(query)], draw: one(Tasks) },
  "workers": { title: "Workers", needs: () => ["workers"], draw: one(Workers) },
  "queues": { title: "Queues", needs: () => ["queues"], draw: one(Queues) },
  "scheduled": { title: "Scheduled", needs: () => ["scheduled"], draw: one(Scheduled) },
  "periodic": { title: "Periodic", needs: () => ["periodic"], draw: one(Periodic) },
  "dead": {
    title: "Dead letters",
    needs: () => ["letters/dead", "letters/failed"],
    draw: ([dead, failed]) => <Dead dead={dead as Letters} failed={failed as Letters} />,
  },
  "task/": {
    title: "Task",
    under: "tasks",
    needs: (_query, name) => [`tasks/${encodeURIComponent(name)}`],
    draw: one(Task),
  },
  "worker/": {
    title: "Worker",
    under: "workers",
    needs: (_query, name) => [`workers/${encodeURIComponent(name)}`],
    draw: one(Worker),
  },
  "run": {
    title: "Run a task",
    under: "tasks",
    needs: () => ["task-names"],
    draw: one(Run),
  },
};
/** Flower's names of pages. */
const ALIASES: Readonly<Record<string, string>> = { broker: "queues" };
const LINKS = ["", "tasks", "workers", "queues", "scheduled", "periodic", "dead"];

interface Found {
  readonly key: string;
  readonly page: Page;
  readonly needs: readonly string[];
  readonly title: string;
}

/** Returns the page of an address; null if there is none. */
export function pageOf({ path, query }: Place): Found | null {
  const cut = path.indexOf("/");
  const head = cut < 0 ? path : path.slice(0, cut + 1);
  const key = ALIASES[head] ?? head;
  const page = PAGES[key];
  if (page === undefined) return null;
  const name = cut < 0 ? "" : decoded(path.slice(cut + 1));
  return {
    key,
    page,
    needs: page.needs(query, name),
    title: name === "" ? page.title : `${name} · ${page.title}`,
  };
}

/** Returns the window title of a page. */
export function titleOf(place: Place): string {
  const title = place.path === "login" ? "Log in" : pageOf(place)?.title ?? "No such page";
  return `${title} · Lovage`;
}

/** Decodes a part of an address; one with invalid escapes stays as it is. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The whole document: frame, page, dialog and toasts. */
export function App(): JSX.Element {
  const at = place.value;
  if (at.path === "login") return <Login />;
  const found = pageOf(at);
  return (
    <>
      <a class="button skip" href="#main">Skip to content</a>
      {isLoading.value && <div class="load" />}
      <div class="frame">
        <Side marked={found === null ? "?" : found.page.under ?? found.key} />
        <main id="main">
          {found === null ? <Missing /> : <Shown found={found} />}
        </main>
      </div>
      <Toasts />
      <Dialog />
    </>
  );
}

function Shown({ found: { page, needs } }: { found: Found }): JSX.Element {
  const entries = needs.map((path) => entry(path).value);
  const fault = entries.find((one) => one?.fault)?.fault;
  if (entries.some((one) => one?.data === undefined || one.data === null)) {
    if (!fault) {
      return (
        <>
          <h1 tabIndex={-1}>{page.title}</h1>
          <p class="soft">Loading …</p>
        </>
      );
    }
    if (page.title === "Tasks") return <NoTasks fault={fault} />;
    return (
      <>
        <h1 tabIndex={-1}>{page.title}</h1>
        <Panel title="Nothing to show" flush>
          <Empty title={fault.error}>
            <p>{fault.hint}</p>
            <a class="button" href={address.value}>Try again</a>
          </Empty>
        </Panel>
      </>
    );
  }
  const oldest = Math.min(...entries.map((one) => one!.at));
  return (
    <>
      {fault && (
        <Note kind="bad">
          {fault.error}. This data is from <Time at={oldest} />.
        </Note>
      )}
      {page.draw(entries.map((one) => one!.data))}
    </>
  );
}

function Missing(): JSX.Element {
  return (
    <>
      <h1 tabIndex={-1}>No such page</h1>
      <p>
        There is no page at this address. <a href={to([""])}>Go to the overview</a>
      </p>
    </>
  );
}

function Side({ marked }: { marked: string }): JSX.Element {
  const { user, version, broker, isReadOnly, logins } = session.value;
  return (
    <header class="side">
      <div>
        <a class="brand" href={to([""])}>
          <Brand />Lovage
        </a>
        <nav class="nav" aria-label="Pages">
          <ul>
            {LINKS.map((key) => (
              <li key={key}>
                <a href={to([key])} aria-current={key === marked ? "page" : undefined}>{PAGES[key]!.title}</a>
              </li>
            ))}
          </ul>
        </nav>
        <div class="foot">
          <button
            type="button"
            class="switch"
            role="switch"
            aria-checked={isLive.value}
            onClick={() => isLive.value = !isLive.value}
          >
            <i />Live
          </button>
          <details class="menu up">
            <summary class="button plain">Settings</summary>
            <div>
              <Picks
                label="Theme"
                value={theme.value}
                values={[["", "System"], ["light", "Light"], ["dark", "Dark"]]}
                pick={setTheme}
              />
              <Picks
                label="Times"
                value={zone.value ?? ""}
                values={[["", "Local"], ["UTC", "UTC"]]}
                pick={setZone}
              />
              {user !== null && (
                <form method="post" action={`${prefix.value}/logout`} class="acts" data-own>
                  <span class="soft">{user}</span>
                  {logins.length > 0 && <button type="submit">Log out</button>}
                </form>
              )}
              <p class="hint">
                Press <kbd>?</kbd> for keyboard shortcuts. Updates:{" "}
                {isLive.value ? how.value === "polling" ? "polling" : "stream" : "paused"}.
              </p>
            </div>
          </details>
          {isReadOnly && <span class="tag">read only</span>}
          <p>
            {broker}
            <br />Lovage {version}
          </p>
        </div>
      </div>
    </header>
  );
}

function Picks(
  { label, value, values, pick }: {
    label: string;
    value: string;
    values: readonly (readonly [value: string, text: string])[];
    pick: (value: string) => void;
  },
): JSX.Element {
  return (
    <fieldset class="field">
      <legend class="label">{label}</legend>
      <div class="pick">
        {values.map(([one, text]) => (
          <button
            key={one}
            type="button"
            aria-pressed={one === value}
            onClick={() => pick(one)}
          >
            {text}
          </button>
        ))}
      </div>
    </fieldset>
  );
}

/** The key in local storage for the chosen time zone. */
export const ZONE_KEY = "lovage-zone";

function setZone(name: string): void {
  zone.value = name || undefined;
  localStorage.setItem(ZONE_KEY, name);
}
