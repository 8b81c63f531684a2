/** Moments in the pages: those that messages name too, which no clock may reach. */

import assert from "node:assert/strict";
import { h } from "preact";
import { renderToString } from "preact-render-to-string";
import { Time } from "../../../../lib/console/web/parts.tsx";

Deno.test("Time: a moment that is no date is a dash, and every date is one", () => {
  for (const at of [1e30, -1e30, 8.64e12 + 1, NaN, Infinity, null]) {
    assert.match(renderToString(h(Time, { at })), /^<span class="soft"[^>]*>–<\/span>$/, String(at));
    assert.match(renderToString(h(Time, { at, ago: true })), /–/);
  }
  assert.match(renderToString(h(Time, { at: 8.64e12 })), /datetime="\+275760-09-13T00:00:00.000Z"/i);
});
