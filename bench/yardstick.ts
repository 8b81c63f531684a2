/**
 * A fixed amount of work of the kind that a worker does: envelopes read and written as JSON, maps, bytes. Its
 * cost on a machine is the unit of `make bench-compare`. Changing it invalidates every baseline.
 */

const ENVELOPE = JSON.stringify({
  body: btoa('[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'),
  headers: {
    lang: "py",
    task: "bench.add",
    id: "0".repeat(36),
    retries: 0,
    timelimit: [null, null],
    root_id: null,
  },
  properties: { correlation_id: "0".repeat(36), delivery_mode: 2, delivery_info: { routing_key: "celery" } },
});
const ROUNDS = 120_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const open = new Map<number, string>();
let bytes = 0;
for (let n = 0; n < ROUNDS; n++) {
  const text = decoder.decode(encoder.encode(ENVELOPE));
  const { body, headers, properties } = JSON.parse(text);
  headers.id = properties.correlation_id = `${n}`;
  open.set(n, headers.id);
  if (n >= 100) open.delete(n - 100);
  bytes += JSON.stringify({ body, headers, properties }).length + JSON.parse(atob(body)).length;
}
if (bytes === 0 || open.size !== 100) throw new Error("the yardstick is broken");
