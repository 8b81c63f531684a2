/** `lovage events --dump`: its lines are those of Celery's own dumper, to the character. */

import assert from "node:assert/strict";
import { EventDumper } from "../../lib/cli/events_dump.ts";
import type { ReceivedEvent } from "../../lib/event/mod.ts";
import { requirePython } from "../support/servers.ts";
import { mustRun } from "../support/run.ts";

const PYTHON_DUMP = `
import json, sys
from celery.events.dumper import Dumper
dumper = Dumper()
for line in sys.stdin:
    dumper.on_event(json.loads(line))
`;

Deno.test("EventDumper: the lines of Celery's own dumper, for every recorded event", async () => {
  const { path: python } = await requirePython();
  const events: ReceivedEvent[] = [];
  for (const version of ["5.2.6", "5.6.3"]) {
    const path = new URL(`../golden/redis-events-${version}.json`, import.meta.url);
    const { messages } = JSON.parse(await Deno.readTextFile(path)) as { messages: { raw: string }[] };
    for (const { raw } of messages) {
      events.push(
        ...[JSON.parse(atob(JSON.parse(raw).body))].flat().map((event) => ({
          ...event,
          local_received: 1.5,
        })),
      );
    }
  }
  events.push(
    {
      ...events[0]!,
      type: "worker-custom",
      timestamp: 1,
      extra: { a: [1, null, true, "x'y"] },
    } as ReceivedEvent,
  );
  // Python's JSON keeps 2.0 a float, ours cannot: the one such field is written as Celery writes it.
  const lines = events.map((event) => JSON.stringify(event).replace('"freq":2,', '"freq":2.0,'));
  const theirs = await mustRun([python, "-c", PYTHON_DUMP], { input: lines.join("\n") + "\n" });
  const dumper = new EventDumper();
  assert.equal(events.map((event) => `${dumper.line({ ...event })}\n`).join(""), theirs);
});
