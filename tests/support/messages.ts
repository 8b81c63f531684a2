/** Messages in the form that transports carry, for tests that look at one part of it. */

import type { EncodedMessage } from "../../lib/wire/mod.ts";

/** Properties of a message that sets none. */
export const PROPERTIES: EncodedMessage["properties"] = {
  correlationId: null,
  replyTo: null,
  deliveryMode: 2,
  priority: 0,
  expiration: null,
  rest: null,
};

/** Returns a task message with an empty JSON body, with the given parts replaced. */
export function encodedMessage(given: Partial<EncodedMessage> = {}): EncodedMessage {
  return {
    body: "[[],{},{}]",
    bodyEncoding: "none",
    contentType: "application/json",
    contentEncoding: "utf-8",
    headers: { task: "t", id: "i" },
    properties: PROPERTIES,
    ...given,
  };
}
