/** Toasts: short reports, announced by screen readers. Reports of failures stay until they are closed. */

import { type Signal, signal } from "@preact/signals";
import type { ComponentChild, JSX } from "preact";
import { after } from "./clock.ts";

interface Toast {
  readonly id: number;
  readonly text: ComponentChild;
  readonly isFault: boolean;
}

const toasts: Signal<readonly Toast[]> = signal([]);
const STAYS_MS = 7000;
const SHOWN_MAX = 4;
let ids = 0;

/** Shows a report. */
export function say(text: ComponentChild, isFault = false): void {
  const id = ++ids;
  toasts.value = [...toasts.value, { id, text, isFault }].slice(-SHOWN_MAX);
  if (!isFault) after(STAYS_MS, () => close(id));
}

/** The place of the toasts in the page. */
export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, text, isFault }) => (
        <div class={`toast ${isFault ? "bad" : ""}`} key={id}>
          <p>{isFault && <b>Failed:</b>} {text}</p>
          <button type="button" onClick={() => close(id)}>Close</button>
        </div>
      ))}
    </div>
  );
}

function close(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}
