import assert from "node:assert/strict";
import { DecodeError, resendEnvelope } from "../../../lib/wire/mod.ts";

const HEADERS =
  '{"lang":"py","task":"t.f","id":"old-1","root_id":"old-1","retries":3,"big":12345678901234567890,' +
  '"float":2.0,"stamps":{"x":1e16},"redelivered":true}';
const envelope = (headers: string, correlationId = "old-1") =>
  `{"body":"W1sxXSx7fSx7fV0=","content-encoding":"utf-8","content-type":"application/json","headers":${headers},` +
  `"properties":{"correlation_id":"${correlationId}","reply_to":"r","delivery_info":{"exchange":"","routing_key":"q",` +
  `"redelivered":true},"priority":0,"body_encoding":"base64","delivery_tag":"t"}}`;

Deno.test("resendEnvelope: all stays to the letter but the id, the retries and the marks of a redelivery", () => {
  const { envelope: text, id } = resendEnvelope(envelope(HEADERS), () => "new-1");
  assert.equal(id, "new-1");
  const expected = envelope(HEADERS, "new-1").replace('"id":"old-1"', '"id":"new-1"').replace(
    '"retries":3',
    '"retries":0',
  )
    .replaceAll(',"redelivered":true', "");
  assert.equal(text.replaceAll(": ", ":").replaceAll(", ", ","), expected);
});

Deno.test("resendEnvelope: a correlation id of the caller's own stays", () => {
  assert.match(
    resendEnvelope(envelope(HEADERS, "mine"), () => "new-1").envelope,
    /"correlation_id": ?"mine"/,
  );
});

Deno.test("resendEnvelope: a task without an id among its headers, as of protocol 1, goes as it is", () => {
  for (const text of [envelope("{}"), envelope('{"id":7}')]) {
    assert.deepEqual(resendEnvelope(text, () => "new-1"), { envelope: text, id: null });
  }
});

Deno.test("resendEnvelope: what is not an envelope is refused", () => {
  for (const text of ["", "[]", "{}", '{"headers":{"id":"old-1"}}']) {
    assert.throws(() => resendEnvelope(text, () => "new-1"), DecodeError);
  }
});
