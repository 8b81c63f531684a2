/** Actions: a button that asks if it must, posts to the API, reports what was done, and fetches the page again. */

import type { ComponentChild, JSX } from "preact";
import type { Shape } from "../api/v1/schema.ts";
import { ask, type Field, type Question, type Values } from "./dialog.tsx";
import { to } from "./place.ts";
import { call, faultOf, load, may, shown } from "./store.ts";
import { say } from "./toasts.tsx";

/** One action. */
export interface Action {
  /** What the button says. */
  readonly label: string;
  readonly may: Shape<"Action">;
  /** The API's path. */
  readonly path: string;
  /** What is posted, as JSON; default nothing. */
  readonly body?: (values: Values) => string;
  /** What is asked before; nothing if it is not there. */
  readonly ask?: Partial<Question> & { readonly fields?: readonly Field[] };
  readonly isDanger?: boolean;
  readonly isMain?: boolean;
  /** What the label means in a table, for screen readers: "Retry t.add". */
  readonly of?: string;
}

/** What actions answer, as far as the page reads it. */
interface Answer {
  readonly message?: string;
  readonly taskId?: string | null;
  readonly replies?: Shape<"Done">["replies"];
  readonly done?: number;
  readonly failures?: Shape<"BulkDone">["failures"];
}

/** The button of an action; nothing for who may not do it. */
export function Act(action: Action): JSX.Element | null {
  if (!may(action.may)) return null;
  return (
    <button
      type="button"
      class={`${action.isMain ? "main" : ""} ${action.isDanger ? "danger" : ""}`}
      onClick={() => carryOut(action)}
    >
      {action.label}
      {action.of && <span class="sr">{` ${action.of}`}</span>}
    </button>
  );
}

/** Does an action; true if it was done. */
export async function carryOut(
  { label, path, body, ask: question, isDanger = false }: Action,
): Promise<boolean> {
  let values: Values | null = {};
  if (question !== undefined) {
    values = await ask({ title: `${label}?`, button: label, isDanger, ...question });
    if (values === null) return false;
  }
  try {
    report(label, await call<Answer>(path, body?.(values) ?? "{}"));
  } catch (error) {
    regret(label, error);
    return false;
  }
  await Promise.all(shown.peek().map(load));
  return true;
}

/** Says why an action was not done. */
export function regret(label: string, error: unknown): void {
  const { error: why, hint } = faultOf(error);
  say(`${label}: ${why}${hint ? `. ${hint}` : ""}`, true);
}

/** Says what an action answered. */
function report(label: string, { message, taskId, replies, done, failures = [] }: Answer): void {
  const refused = (replies ?? []).filter(({ isOk }) => !isOk);
  const told: ComponentChild = message ?? `${label}: ${done ?? 0} done`;
  const wrong = [
    ...refused.map(({ worker, text }) => `${worker}: ${text}`),
    ...failures.map(({ id, why }) => `${id}: ${why}`),
  ];
  say(
    <>
      {told} {taskId && <a href={to(["task", taskId])}>Open the task</a>}
      {wrong.length > 0 && ` — ${wrong.slice(0, 3).join("; ")}${wrong.length > 3 ? " …" : ""}`}
    </>,
    wrong.length > 0,
  );
}

/** A JSON object of members whose values are JSON texts already; empty ones are left out. No number is read. */
export function jsonOf(members: Readonly<Record<string, string | null | undefined>>): string {
  const parts = Object.entries(members).filter(([, text]) => text?.trim()).map(([name, text]) =>
    `${JSON.stringify(name)}:${text}`
  );
  return `{${parts.join(",")}}`;
}

/** A text as JSON; nothing if it is empty. */
export function quote(text: string | undefined): string | undefined {
  return text ? JSON.stringify(text) : undefined;
}
