/** Small components of pages: times, states, facts, notes, empty states, bars, sparklines, values as text. */

import type { ComponentChild, ComponentChildren, JSX } from "preact";
import { now, zone } from "./clock.ts";
import { count, isTime, moment, span } from "./format.ts";
import { pretty } from "./value_text.ts";
import { searchFor, to } from "./place.ts";
import { session } from "./store.ts";
import { say } from "./toasts.tsx";

/** A time in the chosen zone; its tooltip shows the other zone. `ago`: relative to now. */
export function Time(
  { at, ago, fine }: { at: number | null | undefined; ago?: boolean; fine?: boolean },
): JSX.Element {
  if (at === null || at === undefined) return <span class="soft">–</span>;
  // Messages and workers may contain a time that is out of range.
  if (!isTime(at)) return <span class="soft" title="The time is out of range">–</span>;
  const isDistance = ago || session.value.isNaturalTime && !fine;
  const shown = moment(at, { zone: zone.value, now: now.value, fine: fine === true });
  const other = zone.value === undefined
    ? `${moment(at, { zone: "UTC", now: 0, fine: true })} UTC`
    : `${moment(at, { zone: undefined, now: 0, fine: true })} in your zone`;
  const distance = at - now.value;
  const near = Math.abs(distance) < 1
    ? "now"
    : distance < 0
    ? `${span(Math.floor(-distance))} ago`
    : `in ${span(Math.ceil(distance))}`;
  return (
    <time
      class="nowrap"
      dateTime={new Date(at * 1000).toISOString()}
      title={isDistance ? `${shown} · ${other}` : other}
    >
      {isDistance ? near : shown}
    </time>
  );
}

const KINDS: Readonly<Record<string, string>> = {
  SUCCESS: "ok",
  FAILURE: "bad",
  REJECTED: "bad",
  RETRY: "warn",
  STARTED: "run",
  REVOKED: "off",
  PENDING: "idle",
  RECEIVED: "idle",
};

/** Returns the CSS class of a state's colour. A custom state counts as running. */
export function kindOf(state: string): string {
  return KINDS[state] ?? "run";
}

/** The name of a state, with its colour and shape. */
export function State({ state }: { state: string }): JSX.Element {
  return <span class={`state ${kindOf(state)}`}>{state}</span>;
}

/** A panel with a heading. `flush`: without padding, for content such as a table. */
export function Panel(
  { title, aside, flush, class: more = "", children }: {
    title: ComponentChild;
    aside?: ComponentChildren;
    flush?: boolean;
    class?: string;
    children: ComponentChildren;
  },
): JSX.Element {
  return (
    <section class={`panel ${more}`}>
      <header>
        <h2>{title}</h2>
        {aside}
      </header>
      {flush ? children : <div class="body">{children}</div>}
    </section>
  );
}

/** The heading of a page with its buttons. */
export function Head(
  { title, crumb, aside, children }: {
    title: ComponentChild;
    crumb?: ComponentChild;
    aside?: ComponentChildren;
    children?: ComponentChildren;
  },
): JSX.Element {
  return (
    <div class="head">
      {crumb && <p class="crumb">{crumb}</p>}
      <h1 tabIndex={-1}>{title}</h1>
      {aside}
      <div class="acts">{children}</div>
    </div>
  );
}

/** A list of names and values; null and undefined values are left out. */
export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChild])[] }): JSX.Element {
  return (
    <dl class="facts">
      {facts.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => [
        <dt>{name}</dt>,
        <dd>{value}</dd>,
      ])}
    </dl>
  );
}

/** The content of an empty list: why it is empty, and what to do. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <h3>{title}</h3>
      {children}
    </div>
  );
}

/** A remark across the page, with an action; screen readers announce a bad one at once. */
export function Note(
  { kind = "", id, act, children }: {
    kind?: "" | "warn" | "bad";
    id?: string;
    act?: ComponentChild;
    children: ComponentChildren;
  },
): JSX.Element {
  return (
    <div class={`note ${kind}`}>
      <p id={id} role={kind === "bad" ? "alert" : undefined}>{children}</p>
      {act}
    </div>
  );
}

/** A bar that shows a share of a whole. */
export function Bar({ part, whole, label }: { part: number; whole: number; label: string }): JSX.Element {
  const width = whole > 0 ? Math.min(100, 100 * part / whole) : 0;
  return (
    <svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label={label}>
      <rect width={width} height="6" />
    </svg>
  );
}

/** A sparkline: a small line chart without axes. */
export function Spark(
  { values, kind = "" }: { values: readonly (number | null)[]; kind?: string },
): JSX.Element {
  const high = Math.max(...values.map((value) => value ?? 0), 1e-9);
  let d = "";
  values.forEach((value, at) => {
    if (value === null) return;
    d += `${d === "" || values[at - 1] === null ? "M" : "L"}${at} ${(22 - 20 * value / high).toFixed(1)}`;
  });
  return (
    <svg
      class={`spark ${kind}`}
      viewBox={`0 0 ${Math.max(values.length - 1, 1)} 24`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <path d={d} />
    </svg>
  );
}

/** A link to a task's page; its text is `says`, or the id. */
export function TaskLink({ id, says }: { id: string; says?: ComponentChild }): JSX.Element {
  return <a href={to(["task", id])} class={says ? "" : "id"} title={id}>{says || id}</a>;
}

/** A link to the tasks of one name or queue, with that as its text. */
export function TasksLink({ by, is }: { by: "name" | "queue"; is: string }): JSX.Element {
  return <a href={to(["tasks"], { search: searchFor(by, is) })}>{is}</a>;
}

/** A link to a worker's page, or a dash. */
export function WorkerLink({ name }: { name: string | null }): JSX.Element {
  return name === null ? <span class="soft">–</span> : <a href={to(["worker", name])}>{name}</a>;
}

/** The known arguments of a task as text. */
export function Args(
  { args, kwargs }: { args: string | null; kwargs: string | null },
): JSX.Element {
  return <Clip text={[args, kwargs].filter(Boolean).join(" ")} />;
}

/** A number of failed tasks, highlighted if above 0. */
export function Failed({ failed }: { failed: number }): JSX.Element {
  return failed > 0 ? <span class="bad">{count(failed)}</span> : <>0</>;
}

/** A text cut to one line; the tooltip shows up to 2000 characters. */
export function Clip({ text }: { text: string | null | undefined }): JSX.Element {
  return text
    ? <code class="clip" title={text.slice(0, 2000)}>{text.slice(0, 300)}</code>
    : <span class="soft">–</span>;
}

/** The text of a value, indented and coloured, with a button that copies it. `raw`: without both. */
export function Value({ text, label, raw }: { text: string; label: string; raw?: boolean }): JSX.Element {
  return (
    <div class="value-view">
      <pre tabIndex={0} role="group" aria-label={label}>
        {raw ? text : pretty(text).map(([kind, part]) => kind === "" ? part : <span class={kind}>{part}</span>)}
      </pre>
      <button type="button" onClick={() => copy(text, label)}>
        Copy<span class="sr">{` ${label}`}</span>
      </button>
    </div>
  );
}

/** Copies a text. Without HTTPS there is no clipboard object, so an older way is used then. */
async function copy(text: string, label: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`${label} copied`);
}
