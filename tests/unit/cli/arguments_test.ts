/** Values of options: what is read, and what is refused before anything is done. */

import assert from "node:assert/strict";
import {
  duration,
  interval,
  moment,
  momentOrSeconds,
  settingsOf,
  whole,
} from "../../../lib/cli/arguments.ts";

const refuses = (read: (text: string) => unknown, ...texts: string[]) => {
  for (const text of texts) assert.throws(() => read(text), { name: "InvalidValue" }, text);
};

Deno.test("moment: ISO 8601 and nothing else", () => {
  for (const text of ["2030-01-31T12:00:00+00:00", "2030-01-31 12:00", "2030-01-31"]) {
    assert.equal(moment(text), text);
  }
  refuses(moment, "tomorrow", "soon", "", " ", "Mon Nov 30 16:08:07 UTC 2026", "42");
});

Deno.test("momentOrSeconds: seconds as a number, else a moment", () => {
  assert.equal(momentOrSeconds("60"), 60);
  assert.equal(momentOrSeconds("0.5"), 0.5);
  assert.equal(momentOrSeconds("2030-01-31T12:00:00Z"), "2030-01-31T12:00:00Z");
  refuses(momentOrSeconds, "soon", "", "1e300", "Infinity");
});

Deno.test("duration, interval, whole: bounds", () => {
  assert.equal(duration(0)("0"), 0);
  assert.equal(duration(0)("1.5"), 1.5);
  refuses(duration(0), "-1", "1e300", "NaN", "Infinity", "", "x");
  assert.equal(interval("0"), 0);
  refuses(interval, "-5", "0.0001");
  assert.equal(whole(0, 9)("9"), 9);
  refuses(whole(0, 9), "42", "-1", "1.5", "1e99");
  refuses(whole(0), "9007199254740993");
});

Deno.test("settingsOf: name=value, and Celery's dots in any name", () => {
  assert.deepEqual(
    settingsOf(["worker.concurrency=3", "--broker.connection.retry=a=b", "task_acks_late=1"]),
    {
      worker_concurrency: "3",
      broker_connection_retry: "a=b",
      task_acks_late: "1",
    },
  );
  assert.throws(() => settingsOf(["task_acks_late"]), /"task_acks_late": settings are given as name=value/);
});
