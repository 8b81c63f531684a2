/**
 * One trace over Python and Lovage, over Redis and RabbitMQ, with a collector that speaks OTLP. Python's side does what
 * opentelemetry-instrumentation-celery does to a message: the context stands at the top of its headers.
 */

import assert from "node:assert/strict";
import { type CollectedSpan, startCollector } from "../support/otlp_collector.ts";
import { eventually } from "../support/ports.ts";
import {
  lovage,
  type Place,
  PythonClient,
  startPythonWorker,
  startWorker,
  TASKS,
} from "../support/programs.ts";
import { startRabbit, startRedis } from "../support/servers.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";
const HEADERS = {
  "traceparent": `00-${TRACE}-${PARENT}-01`,
  "tracestate": "vendor=1",
  "baggage": "user=7",
  "sentry-trace": "771a43a4192642f0b136d5159a501700-1-1",
  "headers": { "sentry-trace": "771a43a4192642f0b136d5159a501700-1-1", "sentry-task-enqueued-time": "1.5" },
};

interface Traced {
  readonly trace: { traceId: string; spanId: string; isSampled: boolean; traceparent: string };
  readonly fetched: string | null;
  readonly child: string;
  readonly headers: Record<string, unknown>;
}

function spanOf(spans: readonly CollectedSpan[], name: string): CollectedSpan {
  const found = spans.find((span) => span.name === name);
  assert.ok(found, `${name} not in ${spans.map((span) => span.name).join(", ")}`);
  return found;
}

async function checkBroker(place: Place): Promise<void> {
  await using collector = startCollector();
  const echo = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => new Response(request.headers.get("traceparent") ?? "none"),
  );
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: "100" };
  const traced = { ...place, env };
  const { spans } = collector;
  try {
    await using _worker = await startWorker(traced, ["-c", "1", "-Q", "ours"]);
    await using _python = await startPythonWorker(place, ["-Q", "theirs"]);
    await using client = await PythonClient.start(place);

    // Python sends, Lovage runs, Python runs what that sends.
    const url = `http://127.0.0.1:${echo.addr.port}/`;
    const options = { queue: "ours", headers: HEADERS };
    const { id } = await client.ask({ do: "send", task: "t.relay", args: ["theirs", url], options });
    const relayed = (await client.ask({ do: "get", id })).value as Traced;
    assert.equal(relayed.trace.traceId, TRACE);
    assert.equal(relayed.fetched, relayed.trace.traceparent);
    const leaf = (await client.ask({ do: "get", id: relayed.child })).value as Record<string, string>;
    await eventually(() => spans.some(({ name }) => name === "run/t.relay"), "the span of the run");
    const run = spanOf(spans, "run/t.relay");
    const sent = spanOf(spans, "apply_async/t.trace");
    assert.deepEqual([run.traceId, run.parentSpanId, run.spanId, run.kind, run.status], [
      TRACE,
      PARENT,
      relayed.trace.spanId,
      5,
      0,
    ]);
    assert.deepEqual([sent.traceId, sent.parentSpanId, sent.kind], [TRACE, run.spanId, 4]);
    assert.equal(leaf["traceparent"], `00-${TRACE}-${sent.spanId}-01`);
    assert.equal(leaf["tracestate"], "vendor=1");
    assert.equal(leaf["baggage"], "user=7");
    assert.equal(run.attributes["celery.action"], "run");
    assert.equal(run.attributes["messaging.message.id"], id);
    assert.equal(run.service, "interop");

    // Lovage sends, Python runs and sends on, Lovage runs that.
    spans.length = 0;
    const call = ["call", "t.relay", "-A", TASKS, "-a", '["ours"]', "--queue", "theirs"];
    const called = await lovage(call, traced);
    assert.equal(called.code, 0, called.err);
    const inner = (await client.ask({ do: "get", id: called.out.trim() })).value as string;
    const ended = (await client.ask({ do: "get", id: inner })).value as Traced["trace"];
    await eventually(() => spans.some(({ name }) => name === "run/t.trace"), "the span of the inner run");
    const first = spanOf(spans, "apply_async/t.relay");
    assert.deepEqual([first.parentSpanId, ended.traceId], ["", first.traceId]);
    assert.equal(spanOf(spans, "run/t.trace").parentSpanId, first.spanId);

    // A retry goes on in the trace, and the headers of others are what they were.
    spans.length = 0;
    const again = await client.ask({ do: "send", task: "t.again", options });
    const second = (await client.ask({ do: "get", id: again.id! })).value as Traced;
    assert.equal(second.trace.traceId, TRACE);
    await eventually(() => spans.filter(({ name }) => name === "run/t.again").length === 2, "both runs");
    const retry = spanOf(spans, "run/t.again");
    assert.equal(retry.attributes["celery.state"], "RETRY");
    assert.equal(spanOf(spans, "apply_async/t.again").parentSpanId, retry.spanId);
    assert.equal(second.headers["sentry-trace"], HEADERS["sentry-trace"]);
    assert.deepEqual(second.headers["headers"], HEADERS.headers);

    // A failure is one; who is not sampled leaves no span.
    spans.length = 0;
    const quiet = { ...options, headers: { traceparent: `00-${TRACE}-${PARENT}-00` } };
    const unsampled = await client.ask({ do: "send", task: "t.trace", options: quiet });
    const silent = (await client.ask({ do: "get", id: unsampled.id! })).value as Traced["trace"];
    assert.deepEqual([silent.traceId, silent.isSampled], [TRACE, false]);
    const failing = await client.ask({ do: "send", task: "t.fail", args: ["ValueError", "no"], options });
    await client.ask({ do: "get", id: failing.id! });
    await eventually(() => spans.length > 0, "the span of the failure");
    assert.deepEqual(spans.map(({ name, status }) => [name, status]), [["run/t.fail", 2]]);
  } finally {
    await echo.shutdown();
  }
}

Deno.test("traces: one over Python and Lovage in both directions, on Redis", async () => {
  await using redis = await startRedis();
  await checkBroker({ broker: redis.url(), backend: redis.url(1) });
});

Deno.test("traces: the same on RabbitMQ", async () => {
  await using redis = await startRedis();
  await using rabbit = await startRabbit();
  await checkBroker({ broker: rabbit.url(), backend: redis.url(1) });
});

Deno.test("traces: with nobody who traces, a trace goes through; a collector that is gone is one line", async () => {
  await using redis = await startRedis();
  const place: Place = { broker: redis.url(), backend: redis.url(1) };
  await using client = await PythonClient.start(place);
  const options = { queue: "ours", headers: { traceparent: `00-${TRACE}-${PARENT}-01` } };
  {
    await using _worker = await startWorker(place, ["-c", "1", "-Q", "ours"]);
    const { id } = await client.ask({ do: "send", task: "t.relay", args: ["ours", null], options });
    const { trace, child } = (await client.ask({ do: "get", id })).value as Traced;
    assert.deepEqual([trace.traceId, trace.spanId], [TRACE, PARENT]);
    const inner = (await client.ask({ do: "get", id: child })).value as Traced["trace"];
    assert.equal(inner.spanId, PARENT);
  }
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", OTEL_BSP_SCHEDULE_DELAY: "50" };
  await using worker = await startWorker({ ...place, env }, ["-c", "1", "-Q", "ours"]);
  for (let n = 0; n < 5; n++) {
    const { id } = await client.ask({ do: "send", task: "t.trace", options });
    await client.ask({ do: "get", id });
  }
  await worker.says(/Cannot export spans: /);
  assert.equal(worker.text.match(/Cannot export spans/g)!.length, 1);
});

/** Spans of a name, as links name them. */
function linkable(spans: readonly CollectedSpan[], name: string): string[] {
  return spans.filter((span) => span.name === name).map(({ traceId, spanId }) => `${traceId}-${spanId}`)
    .sort();
}

Deno.test("traces: a chord's body goes on from the last member, and has links to all of its header", async () => {
  await using redis = await startRedis();
  await using collector = startCollector();
  const place: Place = { broker: redis.url(), backend: redis.url(1) };
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: "100" };
  const { spans } = collector;
  await using _worker = await startWorker({ ...place, env }, ["-c", "2", "-Q", "ours"]);
  await using client = await PythonClient.start(place);
  const at = (queue: string, task: string, ...args: number[]) =>
    `s(${[`"${task}"`, ...args].join(", ")}).set(queue="${queue}")`;
  const [one, two, three] = [at("ours", "t.add", 1, 1), at("ours", "t.add", 2, 2), at("ours", "t.add", 3, 3)];
  const body = at("ours", "t.echo");
  const run = async (header: string, traced: number): Promise<unknown> => {
    const { value: id } = await client.ask({ do: "eval", code: `chord(${header})(${body}).id` });
    const { value } = await client.ask({ do: "get", id: id as string });
    await eventually(
      () => linkable(spans, "run/t.add").length === traced && spans.some(({ name }) => name === "run/t.echo"),
      "the spans of the members and of the body",
    );
    return value;
  };

  // Each member begins a trace, since nobody traces where they were sent.
  assert.deepEqual(await run(`[${one}, ${two}, ${three}]`, 3), [2, 4, 6]);
  const members = linkable(spans, "run/t.add");
  assert.equal(new Set(members.map((member) => member.split("-")[0])).size, 3);
  await eventually(() => spans.some(({ name }) => name === "apply_async/t.echo"), "the span of the sending");
  const [sent, ran] = [spanOf(spans, "apply_async/t.echo"), spanOf(spans, "run/t.echo")];
  assert.ok(members.includes(`${sent.traceId}-${sent.parentSpanId}`), "a child of one member");
  assert.equal(ran.parentSpanId, sent.spanId);
  assert.deepEqual([[...sent.links].sort(), [...ran.links].sort()], [members, members]);

  // Python ends a header of which a part was traced here.
  spans.length = 0;
  const mixed = run(`[${one}, ${at("theirs", "t.add", 5, 5)}]`, 1);
  await eventually(() => spans.some(({ name }) => name === "run/t.add"), "the span of our member");
  await using _python = await startPythonWorker(place, ["-Q", "theirs"]);
  assert.deepEqual(await mixed, [2, 10]);
  assert.deepEqual(spanOf(spans, "run/t.echo").links, []);
});
