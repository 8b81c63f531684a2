/**
 * The HTML of first paint: the page as the browser would draw it, with real figures and tables, so that it says
 * something without script. The answers it was made of stand in it as data, so that script takes over without a jump.
 * No script and no style stands inline: the content security policy forbids both.
 */

import { h } from "preact";
import { renderToString } from "preact-render-to-string";
import type { Shape } from "../api/v1/schema.ts";
import { begin, type FirstPaint } from "./first_paint.ts";
import { App, pageOf, titleOf } from "./pages.tsx";
import { placeOf, prefix } from "./place.ts";
import { forgetAll } from "./store.ts";
import { themeOf } from "./theme.ts";

/** What a page is made with beside its data. */
export interface PageOptions {
  /** The request's Cookie header: it has the look that the reader chose. */
  readonly cookie?: string | null;
  /** Stands behind the names of script and stylesheet, so that browsers can keep them. */
  readonly version?: string;
}

/**
 * The paths of GET routes (`tasks?search=x`) whose answers a page is made of; null if there is no such page. `url` is
 * path and search of the address, with the prefix.
 */
export function neededFor(url: string, urlPrefix: string): readonly string[] | null {
  prefix.value = urlPrefix;
  const place = placeOf(url);
  return place.path === "login" ? [] : pageOf(place)?.needs ?? null;
}

/**
 * The page of an address as HTML. An answer that is not in `data` is fetched by the browser. `url`: path and search,
 * with the prefix.
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

/** JSON that cannot end its element. */
function dataText(first: FirstPaint): string {
  return JSON.stringify(first).replaceAll("<", "\\u003c");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
