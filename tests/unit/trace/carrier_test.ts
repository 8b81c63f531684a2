import assert from "node:assert/strict";
import { isUnsampled, linksOf, linksTo, unsampledCarrier } from "../../../lib/trace/carrier.ts";
import { realTestWorld } from "../../support/real_test_world.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";

Deno.test("isUnsampled: the lowest bit of the flags is 0", () => {
  const given: [string, boolean][] = [
    [`00-${TRACE}-${SPAN}-00`, true],
    [`00-${TRACE}-${SPAN}-02`, true],
    [`00-${TRACE}-${SPAN}-0a`, true],
    [`00-${TRACE}-${SPAN}-01`, false],
    [`00-${TRACE}-${SPAN}-0b`, false],
    [`00-${TRACE}-${SPAN}-0g`, false],
    [`00-${TRACE}-${SPAN}-0`, false],
    [`00_${TRACE}-${SPAN}-00`, false],
    ["", false],
  ];
  for (const [traceparent, expected] of given) assert.equal(isUnsampled(traceparent), expected, traceparent);
  const { random } = realTestWorld();
  assert.match(unsampledCarrier(random)["traceparent"]!, /^00-[\da-f]{32}-[\da-f]{16}-00$/);
});

Deno.test("carrier: links to at most 128 spans travel in one header, and nothing where there are none", () => {
  const many = Array.from({ length: 200 }, (_, n) => `00-${TRACE}-${SPAN}-${n}`);
  assert.deepEqual(linksOf(linksTo(many)), many.slice(0, 128));
  assert.deepEqual([linksTo([]), linksOf({}), linksOf({ lovage_links: 7 }), linksOf({ lovage_links: "" })], [
    {},
    [],
    [],
    [],
  ]);
});
