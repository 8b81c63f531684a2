import assert from "node:assert/strict";
import { queue } from "../../../lib/transport/mod.ts";
import { banner } from "../../../lib/worker/banner.ts";

Deno.test("banner: Celery's, line for line", () => {
  const text = banner({
    hostname: "w1@example",
    version: "5.2.6 (dawn-chorus)",
    platform: "<platform>",
    timestamp: "2026-11-22 14:26:33",
    app: "proj:0x7f9126e88a50",
    transport: "redis://127.0.0.1:6471/0",
    results: "redis://127.0.0.1:6471/1",
    concurrency: 1,
    autoscale: null,
    pool: "prefork",
    taskEvents: false,
    queues: [queue("celery")],
    tasks: ["tasks.add"],
  });
  assert.equal(
    text,
    ` 
 -------------- w1@example v5.2.6 (dawn-chorus)
--- ***** ----- 
-- ******* ---- <platform> 2026-11-22 14:26:33
- *** --- * --- 
- ** ---------- [config]
- ** ---------- .> app:         proj:0x7f9126e88a50
- ** ---------- .> transport:   redis://127.0.0.1:6471/0
- ** ---------- .> results:     redis://127.0.0.1:6471/1
- *** --- * --- .> concurrency: 1 (prefork)
-- ******* ---- .> task events: OFF (enable -E to monitor tasks in this worker)
--- ***** ----- 
 -------------- [queues]
                .> celery           exchange=celery(direct) key=celery
                

[tasks]
  . tasks.add
`,
  );
});

Deno.test("banner: autoscale, events, several queues by name, no task list", () => {
  const text = banner({
    hostname: "w",
    version: "1",
    platform: "p",
    timestamp: "t",
    app: "a",
    transport: "t",
    results: "disabled://",
    concurrency: 1,
    autoscale: [3, 1],
    pool: "prefork",
    taskEvents: true,
    queues: [queue("b"), queue("a")],
    tasks: null,
  });
  assert.match(text, /\.> concurrency: \{min=1, max=3\} \(prefork\)\n/);
  assert.match(text, /\.> task events: ON\n/);
  assert.match(text, /\[queues\]\n {16}\.> a .*\n {16}\.> b /);
  assert.doesNotMatch(text, /\[tasks\]/);
});
