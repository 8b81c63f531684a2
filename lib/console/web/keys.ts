/**
 * Keyboard shortcuts: `/` searches, `g` and a letter go to a page, `j` and `k` move through rows, `?` lists
 * all.
 */

import { ask } from "./dialog.tsx";
import { isLive } from "./live.ts";
import { to } from "./place.ts";
import { h } from "preact";

const GO: Readonly<Record<string, string>> = {
  o: "",
  t: "tasks",
  w: "workers",
  q: "queues",
  s: "scheduled",
  p: "periodic",
  d: "dead",
  r: "run",
};
const TOLD: readonly (readonly [string, string])[] = [
  ["/", "Search tasks"],
  ["g o", "Overview"],
  ["g t", "Tasks"],
  ["g w", "Workers"],
  ["g q", "Queues"],
  ["g s", "Scheduled"],
  ["g p", "Periodic"],
  ["g d", "Dead letters"],
  ["g r", "Run a task"],
  ["j, k", "Next row, previous row"],
  ["x", "Select the row"],
  ["Enter", "Open the row"],
  ["l", "Pause or resume live updates"],
  ["?", "Show these shortcuts"],
];
/** The key in local storage that disables the shortcuts. */
const OFF_KEY = "lovage-keys-off";

/** Opens an address and, on another page, focuses what a selector finds there. */
type Go = (url: string, options?: { focus: string }) => void;

/** The field that searches tasks. */
const SEARCH = "input[type=search]";

/** Handles keyboard shortcuts. */
export function listen(go: Go): void {
  let isAfterG = false;
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    const isTyping = target instanceof Element &&
      target.closest("input:not([type=checkbox]), textarea, select, dialog") !== null;
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === "?") return void help();
    if (localStorage.getItem(OFF_KEY)) return;
    const wasAfterG = isAfterG;
    isAfterG = key === "g";
    if (wasAfterG && GO[key] !== undefined) go(to([GO[key]]));
    else if (key === "/") search(go);
    else if (key === "l") isLive.value = !isLive.value;
    else if (key === "j" || key === "k") walk(key === "j" ? 1 : -1);
    else if (key === "x") {
      document.activeElement?.closest("tr")?.querySelector<HTMLElement>("[type=checkbox]")?.click();
    } else return;
    event.preventDefault();
  });
}

function search(go: Go): void {
  const field = document.querySelector<HTMLElement>(SEARCH);
  if (field === null) go(to(["tasks"]), { focus: SEARCH });
  else field.focus();
}

function walk(by: number): void {
  const links = [...document.querySelectorAll<HTMLElement>("main tbody td.key a:first-child")];
  const row = document.activeElement?.closest("tr");
  const at = links.findIndex((link) => link.closest("tr") === row);
  links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
}

async function help(): Promise<void> {
  const isOff = localStorage.getItem(OFF_KEY) !== null;
  const values = await ask({
    title: "Keyboard shortcuts",
    text: h(
      "dl",
      { class: "facts" },
      TOLD.map(([key, what]) => [h("dt", null, h("kbd", null, key)), h("dd", null, what)]),
    ),
    fields: [{ name: "on", label: "Enable single-key shortcuts", type: "check", value: isOff ? "" : "on" }],
    button: "Done",
  });
  if (values === null) return;
  if (values["on"]) localStorage.removeItem(OFF_KEY);
  else localStorage.setItem(OFF_KEY, "1");
}
