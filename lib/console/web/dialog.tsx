/** One native dialog that asks: for a confirmation, a typed name, or the fields of a form. */

import { type Signal, signal } from "@preact/signals";
import type { ComponentChild, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** One field. `json`: a text area whose text must be JSON of that kind. */
export interface Field {
  readonly name: string;
  readonly label: string;
  readonly value?: string;
  readonly hint?: string;
  readonly type?: "text" | "number" | "json" | "check" | "password";
  readonly choices?: readonly string[];
  /** Of `json`: what its text must begin with. */
  readonly begins?: "[" | "{";
  readonly isRequired?: boolean;
}

/** The answers, by the fields' names: texts; a box that is checked is "on". */
export type Values = Readonly<Record<string, string>>;

/** What is asked. */
export interface Question {
  readonly title: string;
  readonly text?: ComponentChild;
  readonly fields?: readonly Field[];
  /** What must be typed before the button works. */
  readonly typed?: string;
  /** What the button says. */
  readonly button: string;
  readonly isDanger?: boolean;
}

const asked: Signal<(Question & { answer: (values: Values | null) => void }) | null> = signal(null);
const typed: Signal<string> = signal("");

/** Asks; null if the reader thought better of it. */
export function ask(question: Question): Promise<Values | null> {
  typed.value = "";
  return new Promise((answer) => asked.value = { ...question, answer });
}

/** Where the dialog stands. */
export function Dialog(): JSX.Element | null {
  const question = asked.value;
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (question !== null) box.current?.showModal();
  }, [question]);
  if (question === null) return null;
  const close = (values: Values | null) => {
    asked.value = null;
    question.answer(values);
  };
  const send = (event: SubmitEvent) => {
    event.preventDefault();
    close(valuesOf(event.currentTarget as HTMLFormElement));
  };
  return (
    <dialog ref={box} aria-labelledby="asked" onClose={() => close(null)}>
      <form onSubmit={send as never} data-own>
        <h2 id="asked">{question.title}</h2>
        {question.text && <div>{question.text}</div>}
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

/** The answers that a form has. */
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

/** The browser reports what is wrong when the form is sent. */
function check(area: HTMLTextAreaElement, begins = ""): void {
  const text = area.value.trim();
  let fault = "";
  try {
    if (text !== "") JSON.parse(text);
    if (text !== "" && !text.startsWith(begins)) {
      fault = begins === "[" ? "This must be a list: [ … ]" : "This must be an object: { … }";
    }
  } catch (error) {
    fault = `This is not JSON: ${(error as Error).message}`;
  }
  area.setCustomValidity(fault);
}
