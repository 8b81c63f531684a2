/**
 * Traces of which nothing is recorded: no span, and yet one trace. All of a process traces alike: it is one test, in a
 * process of its own.
 */

import assert from "node:assert/strict";
import { trace } from "@opentelemetry/api";
import type { Context } from "../../lib/app/mod.ts";
import { isUnsampled } from "../../lib/trace/carrier.ts";
import { activeTracing } from "../../lib/trace/mod.ts";
import { startCollector } from "../support/otlp_collector.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { MiniWorker } from "../unit/app/mini_worker.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";

interface Seen {
  readonly task: Context["trace"];
  readonly own: string;
  readonly isOwnRecorded: boolean;
  readonly fetched: string;
}

Deno.test("sampling: a task of which nothing is recorded has no span, and all it causes is of its trace", async () => {
  await using collector = startCollector();
  const echo = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => new Response(request.headers.get("traceparent") ?? "none"),
  );
  let drawn = 0.5;
  const real = realTestWorld({
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "0.01",
    },
  });
  const world = { ...real, random: { ...real.random, fraction: () => drawn } };
  const seen: Seen[] = [];
  await using worker = new MiniWorker({}, (app) => {
    const leaf = app.task("unit.leaf", () => 1);
    app.task("unit.relay", { bind: true }, async (self) => {
      await leaf.delay();
      const own = trace.getTracer("user").startSpan("own");
      const fetched = await (await fetch(`http://127.0.0.1:${echo.addr.port}/`)).text();
      seen.push({
        task: self.trace,
        own: own.spanContext().traceId,
        isOwnRecorded: own.isRecording(),
        fetched,
      });
      own.end();
    });
  }, world);
  await worker.tracer.open("w@unit");
  const run = async (headers: Record<string, unknown>) => {
    const message = await worker.message("unit.relay");
    delete (message.headers as Record<string, unknown>)["traceparent"];
    Object.assign(message.headers, headers);
    await worker.run(message);
    return { ...seen.pop()!, child: worker.waiting.pop()!.message.headers["traceparent"] };
  };
  try {
    // What its sender decided.
    const traceparent = `00-${TRACE}-${SPAN}-00`;
    const silent = await run({ traceparent });
    assert.deepEqual(silent.task, { traceId: TRACE, spanId: SPAN, isSampled: false, traceparent });
    assert.deepEqual([silent.own, silent.isOwnRecorded], [TRACE, false]);
    assert.deepEqual([silent.child, silent.fetched], [traceparent, traceparent]);
    // A trace that begins here and is not drawn: one of its own.
    const dropped = await run({});
    assert.equal(dropped.task!.isSampled, false);
    assert.notEqual(dropped.task!.traceId, TRACE);
    assert.deepEqual([dropped.own, dropped.isOwnRecorded], [dropped.task!.traceId, false]);
    assert.deepEqual([dropped.child, dropped.fetched], [
      dropped.task!.traceparent,
      dropped.task!.traceparent,
    ]);
    // So is a call from outside any task.
    const sent = await worker.message("unit.leaf");
    assert.equal(isUnsampled(sent.headers["traceparent"] as string), true);
    await activeTracing()!.flush();
    assert.equal(collector.spans.length, 0);

    // What is drawn, and what its sender records, is recorded with all it causes.
    drawn = 0.001;
    const recorded = await run({});
    const continued = await run({ traceparent: `00-${TRACE}-${SPAN}-01` });
    assert.deepEqual([recorded.task!.isSampled, recorded.isOwnRecorded], [true, true]);
    assert.equal(recorded.own, recorded.task!.traceId);
    assert.equal(continued.task!.traceId, TRACE);
    await activeTracing()!.flush();
    const names = ["apply_async/unit.leaf", "own", "run/unit.relay"];
    for (const id of [recorded.own, TRACE]) {
      assert.deepEqual(
        collector.spans.filter((span) => span.traceId === id).map(({ name }) => name).sort(),
        names,
      );
    }
  } finally {
    await echo.shutdown();
  }
});
