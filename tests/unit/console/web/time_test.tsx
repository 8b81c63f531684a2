/** Moments in the pages: those that messages name too, which no clock may reach. */

import assert from "node:assert/strict";
import { h } from "preact";
import { renderToString } from "preact-render-to-string";
import { count, moment } from "../../../../lib/console/web/format.ts";
import { Time } from "../../../../lib/console/web/parts.tsx";

Deno.test("Time: a moment that is no date is a dash, and every date is one", () => {
  for (const at of [1e30, -1e30, 8.64e12 + 1, NaN, Infinity, null]) {
    assert.match(renderToString(h(Time, { at })), /^<span class="soft"[^>]*>–<\/span>$/, String(at));
    assert.match(renderToString(h(Time, { at, ago: true })), /–/);
  }
  assert.match(renderToString(h(Time, { at: 8.64e12 })), /datetime="\+275760-09-13T00:00:00.000Z"/i);
});

Deno.test("moment, count: a page of thousands makes each of its formats once", () => {
  const { DateTimeFormat, NumberFormat } = Intl;
  const toLocales = [
    [Date.prototype, "toLocaleDateString"],
    [Date.prototype, "toLocaleTimeString"],
    [Number.prototype, "toLocaleString"],
  ] as const;
  const originals = toLocales.map(([owner, name]) => Reflect.get(owner, name));
  let made = 0;
  const counting = <T extends object>(format: T) =>
    new Proxy(format, {
      construct: (target, args) => (made++, Reflect.construct(target as never, args)),
    });
  Intl.DateTimeFormat = counting(DateTimeFormat);
  Intl.NumberFormat = counting(NumberFormat);
  toLocales.forEach(([owner, name], at) =>
    Reflect.set(owner, name, function (this: unknown, ...given: unknown[]) {
      made++;
      return Reflect.apply(originals[at], this, given);
    })
  );
  try {
    for (let at = 0; at < 1000; at++) {
      count(at);
      moment(at, { zone: "Asia/Kathmandu", now: 1e9, fine: at % 2 === 0 });
    }
  } finally {
    Object.assign(Intl, { DateTimeFormat, NumberFormat });
    toLocales.forEach(([owner, name], at) => Reflect.set(owner, name, originals[at]));
  }
  assert.ok(made <= 10, String(made));
  assert.equal(moment(0, { zone: "UTC", now: 0 }), "00:00:00");
  assert.equal(moment(0.25, { zone: "Asia/Kathmandu", now: 86_400, fine: true }), "1 Jan 05:30:00.250");
  assert.equal(moment(0, { zone: "UTC", now: 1e9 }), "1 Jan 1970 00:00:00");
});
