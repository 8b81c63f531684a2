/** Which of a Redis server's errors refuse us, which pass by themselves, and which stay. */

import assert from "node:assert/strict";
import { AccessRefused } from "../../../lib/base/mod.ts";
import { errorOfText, toOperatingError } from "../../../lib/redis/mod.ts";
import { RespError } from "../../../lib/wire/mod.ts";

Deno.test("toOperatingError: refusals, states that pass, and faults", () => {
  const kinds = {
    refused: [
      "NOAUTH Authentication required.",
      "WRONGPASS invalid username-password pair or user is disabled.",
      "NOPERM this user has no permissions to run the 'eval' command",
      "ERR invalid password",
      "ERR operation not permitted",
      "ERR Client sent AUTH, but no password is set",
    ],
    passing: [
      "ERR max number of clients reached",
      "LOADING Redis is loading the dataset in memory",
      "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
      "READONLY You can't write against a read only replica.",
      "upstream failure",
      "ERR no upstream host",
      "ERR Connection refused",
      "ERR Server closed connection",
    ],
    staying: ["ERR syntax error", "WRONGTYPE Operation against a key", "ERR DB index is out of range"],
  };
  for (const [kind, texts] of Object.entries(kinds)) {
    for (const text of texts) {
      for (const error of [toOperatingError(new RespError(text), "log in"), errorOfText(text, text, null)]) {
        const found = error instanceof AccessRefused ? "refused" : error.isRetryable ? "passing" : "staying";
        assert.equal(found, kind, text);
        assert.ok(error.message.includes(text));
      }
    }
  }
});
