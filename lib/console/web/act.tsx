/**
 * Actions: a button asks first if needed, posts to the API, reports the outcome, and reloads the page's data.
 */

import type { ComponentChild, JSX } from "preact";
import type { Shape } from "../api/v1/schema.ts";
import { ask, type Field, type Question, type Values } from "./dialog.tsx";
import { to } from "./place.ts";
import { call, faultOf, load, may, shown } from "./store.ts";
import { say } from "./toasts.tsx";

/** An action. */
export interface Action {
  /** The button's text. */
  readonly label: string;
  readonly may: Shape<"Action">;
  /** The path after /api/v1/. */
  readonly path: string;
  /** Returns the JSON body; default `{}`. */
  readonly body?: (values: Values) => string;
  /** The question asked before; absent: none. */
  readonly ask?: Partial<Question> & { readonly fields?: readonly Field[] };
  readonly isDanger?: boolean;
  readonly isMain?: boolean;
  /** The object of the label in a table, for screen readers: "Retry t.add". */
  readonly of?: string;
}

/** The fields of an action's answer that the page reads. */
interface Answer {
  readonly message?: string;
  readonly taskId?: string | null;
  readonly replies?: Shape<"Done">["replies"];
  readonly done?: number;
  readonly failures?: Shape<"BulkDone">["failures"];
}

/** The button of an action; nothing if the session may not take it. */
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

/** Takes an action. Resolves to true if it was done, false if it was cancelled or failed. */
export async function carryOut(
  { label, path, body, ask: asking, isDanger = false }: Action,
): Promise<boolean> {
  let question: Question | null = asking ? { title: `${label}?`, button: label, isDanger, ...asking } : null;
  for (;;) {
    const values: Values | null = question === null ? {} : await ask(question);
    if (values === null) return false;
    let fault: string;
    try {
      const answer = await call<Answer>(path, body?.(values) ?? "{}");
      const refused = refusalsIn(answer);
      // What every worker refused can be corrected, like what the console refused.
      if (!question?.fields || refused.length === 0 || refused.length < answer.replies!.length) {
        report(label, answer);
        break;
      }
      fault = refused.join("; ");
    } catch (error) {
      if (!question?.fields) {
        regret(label, error);
        return false;
      }
      fault = reasonOf(error);
    }
    question = again(question, values, fault);
  }
  await Promise.all(shown.peek().map(load));
  return true;
}

/** Returns a question that is asked again, with what was answered and why that failed. */
function again(question: Question, values: Values, fault: string): Question {
  const fields = question.fields!.map((field) => ({ ...field, value: values[field.name] ?? "" }));
  return { ...question, fields, fault };
}

/** Reports why an action failed. */
export function regret(label: string, error: unknown): void {
  say(`${label}: ${reasonOf(error)}`, true);
}

function reasonOf(error: unknown): string {
  const { error: why, hint } = faultOf(error);
  return `${why}${hint ? `. ${hint}` : ""}`;
}

/** Returns what workers answered that refused. */
function refusalsIn({ replies = [] }: Answer): string[] {
  return replies.filter(({ isOk }) => !isOk).map(({ worker, text }) => `${worker}: ${text}`);
}

/** Reports the answer of an action. */
function report(label: string, answer: Answer): void {
  const { message, taskId, done, failures = [] } = answer;
  const told: ComponentChild = message ?? `${label}: ${done ?? 0} done`;
  const wrong = [...refusalsIn(answer), ...failures.map(({ id, why }) => `${id}: ${why}`)];
  say(
    <>
      {told} {taskId && <a href={to(["task", taskId])}>Open the task</a>}
      {wrong.length > 0 && ` — ${wrong.slice(0, 3).join("; ")}${wrong.length > 3 ? " …" : ""}`}
    </>,
    wrong.length > 0,
  );
}

/**
 * Builds a JSON object from members that are JSON texts, without parsing numbers; empty members are left out.
 */
export function jsonOf(members: Readonly<Record<string, string | null | undefined>>): string {
  const parts = Object.entries(members).filter(([, text]) => text?.trim()).map(([name, text]) =>
    `${JSON.stringify(name)}:${text}`
  );
  return `{${parts.join(",")}}`;
}

/** Encodes a text as JSON; undefined if it is empty. */
export function quote(text: string | undefined): string | undefined {
  return text ? JSON.stringify(text) : undefined;
}
