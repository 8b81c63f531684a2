import assert from "node:assert/strict";
import {
  acceptedTypes,
  decodeEnvelope,
  DecodeError,
  decodeMailboxReply,
  decodeMailboxRequest,
  type EncodedMessage,
  encodeEnvelope,
  encodeMailboxReply,
  encodeMailboxRequest,
} from "../../../../lib/wire/mod.ts";
import { golden, VERSIONS } from "../golden.ts";
import { encodedMessage } from "../../../support/messages.ts";

const ACCEPT = acceptedTypes(["json"]);

for (const version of VERSIONS) {
  Deno.test(`requests and replies of Celery ${version}, read and sent by us, are the same messages`, () => {
    const seen = { request: 0, reply: 0 };
    for (const { raw, kind, scenario } of golden(`redis-pidbox-${version}`)) {
      const { message, info, deliveryTag } = decodeEnvelope(raw);
      let made: EncodedMessage;
      if (kind === "request") {
        made = encodeMailboxRequest(decodeMailboxRequest(message, ACCEPT), { bodyEncoding: "base64" });
        seen.request++;
      } else {
        const { ticket, clock, replies } = decodeMailboxReply(message, ACCEPT);
        const [hostname, reply] = Object.entries(replies)[0]!;
        made = encodeMailboxReply({ hostname, reply, ticket, clock: clock! }, { bodyEncoding: "base64" });
        seen.reply++;
      }
      const ours = JSON.parse(encodeEnvelope(made, { ...info, deliveryTag: deliveryTag! }));
      const theirs = JSON.parse(raw);
      assert.deepEqual(JSON.parse(atob(ours.body)), JSON.parse(atob(theirs.body)), scenario);
      assert.deepEqual({ ...ours, body: "" }, { ...theirs, body: "" }, scenario);
    }
    assert.ok(seen.request > 10 && seen.reply > 10, JSON.stringify(seen));
  });
}

Deno.test("a request is read leniently, but not without a method", () => {
  const request = decodeMailboxRequest(
    message('{"method":"ping","destination":"w1@x","matcher":"odd"}'),
    ACCEPT,
  );
  assert.deepEqual(request, {
    method: "ping",
    arguments: {},
    destination: ["w1@x"],
    pattern: null,
    matcher: null,
    ticket: null,
    replyTo: null,
    clock: null,
    expires: 0,
  });
  for (const body of ["[]", "{}", '{"method":1}', "null"]) {
    assert.throws(() => decodeMailboxRequest(message(body), ACCEPT), DecodeError);
  }
  assert.throws(() => decodeMailboxReply(message("[]"), ACCEPT), DecodeError);
});

Deno.test("a handler without an answer replies null", () => {
  const made = encodeMailboxReply({ hostname: "w", reply: undefined, ticket: "t", clock: 3 }, {
    bodyEncoding: "none",
  });
  assert.equal(made.body, '{"w":null}');
  assert.deepEqual(made.headers, { ticket: "t", clock: 3 });
});

const message = (body: string) => encodedMessage({ body, headers: {} });
