/** What the console does to many tasks at once. */

import assert from "node:assert/strict";
import { forTasks } from "../../../lib/console/cluster/actions.ts";
import type { Cluster } from "../../../lib/console/cluster/cluster.ts";
import type { DeadLetter } from "../../../lib/transport/mod.ts";
import { decodeEnvelope, toJson } from "../../../lib/wire/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

function letter(id: string, body = btoa(`[[${id.length}], {}, {}]`)): DeadLetter {
  const envelope = toJson({
    body,
    "content-type": "application/json",
    "content-encoding": "utf-8",
    headers: { id, task: "t.add" },
    properties: { body_encoding: "base64", delivery_info: {}, delivery_tag: "1" },
  });
  return { id: `letter of ${id}`, queue: "celery", reason: "it failed", atMs: 0, envelope };
}

/** A cluster whose broker keeps some failed tasks, and what it was asked. */
function rig(...letters: DeadLetter[]) {
  const kept = new Map(letters.map((one) => [one.id, one]));
  const sent: unknown[] = [];
  let lists = 0;
  const failedTasks = {
    list: () => {
      lists++;
      return Promise.resolve([...kept.values()]);
    },
    retry: (one: DeadLetter, _queue: string, envelope: string) => {
      sent.push(decodeEnvelope(envelope).message.headers["task"]);
      return Promise.resolve(kept.delete(one.id));
    },
  };
  const cluster = {
    world: fakeWorld(),
    app: {
      amqp: { queues: { peek: () => undefined } },
      openBackend: () => Promise.resolve({ kind: "disabled" }),
    },
    connection: () => Promise.resolve({ failedTasks }),
  } as unknown as Cluster;
  return { cluster, sent, lists: () => lists };
}

Deno.test("forTasks: many are sent again after one look at what is kept, each or why not", async () => {
  const { cluster, sent, lists } = rig(letter("a-1"), letter("a-2"), letter("a-3", ""));
  const ids = ["a-1", "a-2", "a-3", "a-4"];
  const { done, failures } = await forTasks(cluster, ids, { action: "retry", signal: "SIGTERM" });
  assert.equal(done, 2);
  assert.deepEqual(sent, ["t.add", "t.add"]);
  assert.deepEqual(failures.map(({ id }) => id), ["a-3", "a-4"]);
  assert.match(failures[0]!.why, /longer than failed_keep/);
  assert.match(failures[1]!.why, /known only as text/);
  assert.equal(lists(), 1);
});
