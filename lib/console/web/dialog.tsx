/** The native dialog for questions: a confirmation, a typed name, or a form. */

import { type Signal, signal } from "@preact/signals";
import type { ComponentChild, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Note } from "./parts.tsx";

/** A field of a form. `json` is a text area whose text must be JSON. */
export interface Field {
  readonly name: string;
  readonly label: string;
  readonly value?: string;
  readonly hint?: string;
  readonly type?: "text" | "number" | "json" | "check" | "password";
  readonly choices?: readonly string[];
  /** For `json`: the bracket that its text must begin with. */
  readonly begins?: "[" | "{";
  readonly isRequired?: boolean;
}

/** The answers by field name, as texts; a checked box is "on". */
export type Values = Readonly<Record<string, string>>;

/** A question. */
export interface Question {
  readonly title: string;
  readonly text?: ComponentChild;
  readonly fields?: readonly Field[];
  /** Why what was answered before failed. */
  readonly fault?: string;
  /** The text that must be typed to enable the button. */
  readonly typed?: string;
  /** The button's text. */
  readonly button: string;
  readonly isDanger?: boolean;
}

const asked: Signal<(Question & { answer: (values: Values | null) => void }) | null> = signal(null);
const typed: Signal<string> = signal("");

/** Opens the dialog. Resolves to the answers, or null if the user cancels. */
export function ask(question: Question): Promise<Values | null> {
  typed.value = "";
  return new Promise((answer) => asked.value = { ...question, answer });
}

/** The place of the dialog in the page. */
export function Dialog(): JSX.Element | null {
  const question = asked.value;
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (question === null) return;
    box.current?.showModal();
    // What is typed replaces the value that stands there.
    if (document.activeElement instanceof HTMLInputElement) document.activeElement.select();
  }, [question]);
  if (question === null) return null;
  const close = (values: Values | null) => {
    if (asked.peek() !== question) return;
    // Puts the focus back where it was; a dialog that is only removed does not.
    box.current?.close();
    asked.value = null;
    question.answer(values);
  };
  return (
    <dialog ref={box} aria-labelledby="asked" onClose={() => close(null)}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          close(valuesOf(event.currentTarget));
        }}
        data-own
      >
        <h2 id="asked">{question.title}</h2>
        {question.text && <div>{question.text}</div>}
        {question.fault && <Note kind="bad">{question.fault}</Note>}
        <Fields fields={question.fields ?? []} />
        {question.typed !== undefined && (
          <label class="field">
            <span>
              Type <code>{question.typed}</code> to confirm
            </span>
            <input
              autocomplete="off"
              spellcheck={false}
              onInput={(event) => typed.value = event.currentTarget.value}
            />
          </label>
        )}
        <div class="acts">
          <button type="button" onClick={() => close(null)}>Cancel</button>
          <button
            type="submit"
            class={question.isDanger ? "main danger" : "main"}
            disabled={question.typed !== undefined && typed.value !== question.typed}
          >
            {question.button}
          </button>
        </div>
      </form>
    </dialog>
  );
}

/** Returns the values of a form. */
export function valuesOf(form: HTMLFormElement): Values {
  return Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]));
}

/** The fields of a form. */
export function Fields({ fields }: { fields: readonly Field[] }): JSX.Element {
  return <div class="fields">{fields.map((field) => <Input key={field.name} {...field} />)}</div>;
}

function Input(
  { name, label, value = "", hint, type = "text", choices, begins, isRequired = false }: Field,
): JSX.Element {
  if (type === "check") {
    return (
      <label class="check">
        <input type="checkbox" name={name} checked={value !== ""} />
        {label}
      </label>
    );
  }
  const list = choices && `list-${name}`;
  const common = {
    name,
    required: isRequired,
    spellcheck: false,
    autocomplete: type === "password" ? "current-password" : "off",
  } as const;
  return (
    <label class="field">
      <span>{label}</span>
      {type === "json"
        ? (
          <textarea
            {...common}
            defaultValue={value}
            onInput={(event) => check(event.currentTarget, begins)}
          />
        )
        : (
          <input
            {...common}
            type={type as "text"}
            step="any"
            defaultValue={value}
            {...(list ? { list } : {})}
          />
        )}
      {list && <datalist id={list}>{choices.map((choice) => <option value={choice} />)}</datalist>}
      {hint && <small>{hint}</small>}
    </label>
  );
}

/** Validates a JSON field; the browser shows the error when the form is sent. */
function check(area: HTMLTextAreaElement, begins = ""): void {
  const text = area.value.trim();
  let fault = "";
  try {
    if (text !== "") JSON.parse(text);
    if (text !== "" && !text.startsWith(begins)) {
      fault = begins === "[" ? "This must be a list: [ … ]" : "This must be an object: { … }";
    }
  } catch (error) {
    fault = `Invalid JSON: ${(error as Error).message}`;
  }
  area.setCustomValidity(fault);
}
