/**
 * Renders the HTML of the first paint: the page as the browser would draw it, with real figures and tables,
 * so that it is useful without script. The answers it was made from are embedded as data, so that the script
 * takes over without a change on the screen. Scripts and styles are not inline, since the content security
 * policy forbids that.
 */

import { h } from "preact";
import { renderToString } from "preact-render-to-string";
import type { Shape } from "../api/v1/schema.ts";
import { begin, type FirstPaint } from "./first_paint.ts";
import { App, pageOf, titleOf } from "./pages.tsx";
import { placeOf, prefix } from "./place.ts";
import { forgetAll } from "./store.ts";
import { themeOf } from "./theme.ts";

/** Options of `page`. */
export interface PageOptions {
  /** The request's Cookie header, which has the chosen theme. */
  readonly cookie?: string | null;
  /** Appended to the names of script and stylesheet, so that browsers can cache them. */
  readonly version?: string;
}

/**
 * Returns the paths of GET routes (`tasks?search=x`) that a page needs; null if there is no such page. `url`
 * is the path and search of the address, with the prefix.
 */
export function neededFor(url: string, urlPrefix: string): readonly string[] | null {
  prefix.value = urlPrefix;
  const place = placeOf(url);
  return place.path === "login" ? [] : pageOf(place)?.needs ?? null;
}

/**
 * Renders a page as HTML. The browser fetches answers that are not in `data`. `url` is the path and search of
 * the address, with the prefix.
 */
export function page(
  url: string,
  data: FirstPaint["data"],
  session: Shape<"Session">,
  options: PageOptions = {},
): string {
  const first: FirstPaint = { session, data, theme: themeOf(options.cookie ?? "") };
  forgetAll();
  begin(url, first);
  const body = renderToString(h(App, null));
  const version = options.version ? `?v=${encodeURIComponent(options.version)}` : "";
  const assets = `${escaped(session.prefix)}/assets/`;
  return `<!doctype html>
<html lang="en"${first.theme && ` data-theme="${first.theme}"`}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(titleOf(placeOf(url)))}</title>
<link rel="icon" href="${assets}icon.svg${version}" type="image/svg+xml">
<link rel="stylesheet" href="${assets}console.css${version}">
<script type="module" src="${assets}console.js${version}"></script>
</head>
<body>
<div id="app">${body}</div>
<script type="application/json" id="data">${dataText(first)}</script>
</body>
</html>
`;
}

/** Encodes JSON so that it cannot close the script element. */
function dataText(first: FirstPaint): string {
  return JSON.stringify(first).replaceAll("<", "\\u003c");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
