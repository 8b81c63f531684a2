/** The server's clock in the page, the time zone of times shown, and the browser's timers, used only here. */

import { type Signal, signal } from "@preact/signals";

/** The server's time as the page shows it, seconds since 1970; updated each second while the page is live. */
export const now: Signal<number> = signal(0);

/** The zone of times; undefined means the browser's. The server renders pages in UTC. */
export const zone: Signal<string | undefined> = signal("UTC");

/** How far the server's clock is ahead of this one, seconds. */
let ahead = 0;

/** Sets the clock to the server's time. */
export function setTime(seconds: number): void {
  now.value = seconds;
  ahead = seconds - Date.now() / 1000;
}

/** Returns the server's current time, seconds since 1970. */
export function time(): number {
  return Date.now() / 1000 + ahead;
}

/** Calls `act` once after a delay, and returns a function that cancels it. */
export function after(ms: number, act: () => void): () => void {
  const timer = setTimeout(act, ms);
  return () => clearTimeout(timer);
}

/** Calls `act` periodically until the page is closed. */
export function every(ms: number, act: () => void): void {
  setInterval(act, ms);
}
