/** Charts: what is drawn of a few points. */

import assert from "node:assert/strict";
import { h } from "preact";
import { renderToString } from "preact-render-to-string";
import { Chart } from "../../../../lib/console/web/chart.tsx";

Deno.test("Chart: a lonely point of a line is a dash, at the ends too; neighbours are joined", () => {
  const drawn = (values: readonly (number | null)[]) => {
    const html = renderToString(
      h(Chart, {
        label: "Times",
        times: values.map((_, at) => 60 * at),
        lines: [{ label: "p95", values, color: "ok" }],
        format: String,
        kind: "lines",
      }),
    );
    return /<path [^>]*d="([^"]*)"/.exec(html)?.[1];
  };
  assert.equal(drawn([4, null, null]), "M0.2 0.00h.6");
  assert.equal(drawn([null, 4, null]), "M1.2 0.00h.6");
  assert.equal(drawn([null, null, 4]), "M2.2 0.00h.6");
  assert.equal(drawn([null, 2, 4]), "M1.5 50.00L2.5 0.00");
});
