/** The server's clock in the page, the zone that times are shown in, and the browser's timers: they stand only here. */

import { type Signal, signal } from "@preact/signals";

/** The server's clock as the page shows it, seconds since 1970; it ticks each second while the page is live. */
export const now: Signal<number> = signal(0);

/** The zone of times: undefined is the reader's own. The server makes pages in UTC. */
export const zone: Signal<string | undefined> = signal("UTC");

/** How far the server's clock is before this one, seconds. */
let ahead = 0;

/** Takes what the server's clock says as the time from here on. */
export function setTime(seconds: number): void {
  now.value = seconds;
  ahead = seconds - Date.now() / 1000;
}

/** The server's clock at this moment, seconds since 1970. */
export function time(): number {
  return Date.now() / 1000 + ahead;
}

/** Does something once, later; what it returns keeps it from being done. */
export function after(ms: number, act: () => void): () => void {
  const timer = setTimeout(act, ms);
  return () => clearTimeout(timer);
}

/** Does something again and again, until the page goes away. */
export function every(ms: number, act: () => void): void {
  setInterval(act, ms);
}
