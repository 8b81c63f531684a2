/** The browser's entry: takes over the server's page, and handles links, keys and the stream. */

import { hydrate } from "preact";
import { batch } from "@preact/signals";
import { after, zone } from "./clock.ts";
import { begin, type FirstPaint } from "./first_paint.ts";
import { listen } from "./keys.ts";
import { follow } from "./live.ts";
import { App, pageOf, titleOf, ZONE_KEY } from "./pages.tsx";
import { address, place, placeOf } from "./place.ts";
import { chosen } from "./table.tsx";
import { entry, isLoading, load, shown } from "./store.ts";

/** How long a click waits for the next page's data; then the page is shown without it. */
const PATIENCE_MS = 500;
/** A page is drawn at the end of the turn in which its signals change. */
const DRAWN_MS = 0;
/** A fetch that takes longer than this shows the loading bar. */
const NOTICED_MS = 150;

start();

function start(): void {
  const first = JSON.parse(document.getElementById("data")!.textContent!) as FirstPaint;
  begin(location.pathname + location.search, first);
  hydrate(<App />, document.getElementById("app")!);
  if (place.value.path === "login") return;
  zone.value = localStorage.getItem(ZONE_KEY) || undefined;
  settle();
  listenToLinks();
  listen(go);
  follow(() => shown.value);
}

/** Sets the title and paths of the current page, and fetches missing data. */
function settle(): void {
  shown.value = pageOf(place.value)?.needs ?? [];
  document.title = titleOf(place.value);
  for (const path of shown.value) if (entry(path).peek() === null) load(path);
}

/**
 * Opens an address of the console when its data has arrived, or PATIENCE_MS have passed. On another page, the
 * focus goes to the element that `focus` selects.
 */
async function go(url: string, { isBack = false, focus = "h1" } = {}): Promise<void> {
  const needs = pageOf(placeOf(url))?.needs ?? [];
  const cancel = after(NOTICED_MS, () => isLoading.value = true);
  const loading = isBack ? null : Promise.all(needs.map(load));
  if (loading !== null) await Promise.race([loading, new Promise<void>((done) => after(PATIENCE_MS, done))]);
  cancel();
  const isSamePath = placeOf(url).path === place.value.path;
  if (!isBack) {
    if (url === address.value) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
  }
  batch(() => {
    isLoading.value = false;
    chosen.value = new Set();
    address.value = url;
  });
  settle();
  if (isSamePath || isBack) return;
  scrollTo(0, 0);
  const turnTo = () => document.querySelector<HTMLElement>(focus)?.focus({ preventScroll: true });
  after(DRAWN_MS, turnTo);
  await loading;
  // With its data the page is drawn again, and what had the focus may be gone.
  after(DRAWN_MS, () => {
    if (address.peek() === url && document.activeElement === document.body) turnTo();
  });
}

function listenToLinks(): void {
  addEventListener("popstate", () => go(location.pathname + location.search, { isBack: true }));
  document.addEventListener("click", (event) => {
    const target = event.target as Element;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(target)) menu.removeAttribute("open");
    }
    const link = target.closest("a");
    if (link === null || event.defaultPrevented || event.button !== 0) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const url = new URL(link.getAttribute("href") ?? "#", location.href);
    if (url.origin !== location.origin || url.hash !== "" || pageOf(placeOf(url.pathname)) === null) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target as HTMLFormElement;
    if (event.defaultPrevented || form.method !== "get" || form.hasAttribute("data-own")) return;
    event.preventDefault();
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value !== "") query.append(name, String(value));
    go(new URL(form.action).pathname + (query.size > 0 ? `?${query}` : ""));
  });
  document.addEventListener("change", (event) => {
    (event.target as Element).closest<HTMLFormElement>("form[data-auto]")?.requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.removeAttribute("open");
      menu.querySelector("summary")?.focus();
    }
  });
}
