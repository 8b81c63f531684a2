/**
 * The current page: its address holds its whole state. Links are real links; a click on a link of the console
 * changes the page without a reload, once the next page's data has arrived.
 */

import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";

/** A page's address: its path without the prefix and outer slashes, and its query. */
export interface Place {
  readonly path: string;
  readonly query: URLSearchParams;
}

/** The URL prefix, "" or "/x". */
export const prefix: Signal<string> = signal("");

/** Path and search of the current page, with the prefix. */
export const address: Signal<string> = signal("/");

/** The current page. */
export const place: ReadonlySignal<Place> = computed(() => placeOf(address.value));

/** Parses an address. */
export function placeOf(url: string): Place {
  const cut = url.indexOf("?");
  const path = cut < 0 ? url : url.slice(0, cut);
  const inside = path.startsWith(prefix.value) ? path.slice(prefix.value.length) : path;
  return {
    path: inside.replace(/^\/+|\/+$/g, ""),
    query: new URLSearchParams(cut < 0 ? "" : url.slice(cut)),
  };
}

/** Returns the address of a page; the parts of `path` are not encoded yet. */
export function to(path: readonly string[], query: Readonly<Record<string, string | null>> = {}): string {
  return prefix.value + "/" + path.map(encodeURIComponent).join("/") +
    queryText(new URLSearchParams(), query);
}

/** Returns the address of the current page with changes to its query; null removes a value. */
export function here(query: Readonly<Record<string, string | null>>): string {
  const { path, query: now } = place.value;
  return prefix.value + "/" + path + queryText(new URLSearchParams(now), query);
}

/** Returns a search term such as `name:shop.add`, quoted if needed. */
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
