/**
 * Where the reader is: the address holds the whole state of a page. Links are real links; a click on one of ours is
 * taken as a change of the page, and everything that it needs is there before the page changes.
 */

import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";

/** A page's address: its path without the prefix and slashes around it, and what stands behind `?`. */
export interface Place {
  readonly path: string;
  readonly query: URLSearchParams;
}

/** The URL prefix, "" or "/x". */
export const prefix: Signal<string> = signal("");

/** Path and search of the page that is shown, with the prefix. */
export const address: Signal<string> = signal("/");

/** The page that is shown. */
export const place: ReadonlySignal<Place> = computed(() => placeOf(address.value));

/** Takes an address apart. */
export function placeOf(url: string): Place {
  const cut = url.indexOf("?");
  const path = cut < 0 ? url : url.slice(0, cut);
  const inside = path.startsWith(prefix.value) ? path.slice(prefix.value.length) : path;
  return {
    path: inside.replace(/^\/+|\/+$/g, ""),
    query: new URLSearchParams(cut < 0 ? "" : url.slice(cut)),
  };
}

/** The address of a page; each part of `path` is a name as it is. */
export function to(path: readonly string[], query: Readonly<Record<string, string | null>> = {}): string {
  return prefix.value + "/" + path.map(encodeURIComponent).join("/") +
    queryText(new URLSearchParams(), query);
}

/** The address of this page with other values behind `?`; null takes one away. */
export function here(query: Readonly<Record<string, string | null>>): string {
  const { path, query: now } = place.value;
  return prefix.value + "/" + path + queryText(new URLSearchParams(now), query);
}

/** One term of a search, such as `name:shop.add`; quoted if it must be. */
export function searchFor(field: string, value: string): string {
  return `${field}:${/[\s"()]/.test(value) ? `"${value.replaceAll('"', "")}"` : value}`;
}

function queryText(params: URLSearchParams, changes: Readonly<Record<string, string | null>>): string {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") params.delete(name);
    else params.set(name, value);
  }
  const text = params.toString();
  return text === "" ? "" : `?${text}`;
}
