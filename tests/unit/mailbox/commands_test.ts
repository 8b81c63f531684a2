import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import { RemoteCommands } from "../../../lib/app/mod.ts";
import { argumentsFrom, commandsOf, findCommand, REMOTE_ALIASES } from "../../../lib/mailbox/mod.ts";

const read = (kind: "inspect" | "control", ...[name, ...words]: string[]) =>
  argumentsFrom(findCommand(kind, name!), words);

Deno.test("argumentsFrom: words become the arguments that Celery's command line makes of them", () => {
  assert.deepEqual(read("control", "rate_limit", "t.add", "10/m"), {
    task_name: "t.add",
    rate_limit: "10/m",
  });
  assert.deepEqual(read("control", "time_limit", "t.add", "5", "10.5"), {
    task_name: "t.add",
    soft: 5,
    hard: 10.5,
  });
  assert.deepEqual(read("control", "terminate", "KILL", "a", "b"), { signal: "KILL", task_id: ["a", "b"] });
  assert.deepEqual(read("control", "revoke"), { task_id: [] });
  assert.deepEqual(read("control", "autoscale", "4", "2"), { max: 4, min: 2 });
  assert.deepEqual(read("control", "add_consumer", "q", "e", "topic", "k"), {
    queue: "q",
    exchange: "e",
    exchange_type: "topic",
    routing_key: "k",
  });
  assert.deepEqual(read("inspect", "conf", "yes"), { with_defaults: true });
  assert.deepEqual(read("inspect", "query_task", "a", "b"), { ids: ["a", "b"] });
  assert.deepEqual(read("inspect", "ping"), {});
});

Deno.test("argumentsFrom: a wrong word is an error of one line", () => {
  const cases: [() => unknown, RegExp][] = [
    [() => read("inspect", "ping", "x"), /"ping" takes no arguments/],
    [() => read("control", "pool_grow", "1", "2"), /"pool_grow" takes arguments: \[N=1\]/],
    [() => read("control", "pool_grow", "many"), /n must be a whole number, not "many"/],
    [() => read("control", "time_limit", "t", "soon"), /soft must be a number, not "soon"/],
    [() => read("inspect", "conf", "maybe"), /with_defaults must be true or false/],
    [() => read("inspect", "pings"), /No such inspect command "pings": did you mean "ping"\?/],
    [() => read("control", "ping"), /No such control command "ping"/],
    [() => read("inspect", "hello"), /No such inspect command "hello"/],
  ];
  for (const [act, text] of cases) {
    assert.throws(act, (error) => error instanceof UsageError && text.test(error.message));
  }
});

Deno.test("commandsOf: Celery's commands, and an App's own", () => {
  const own = new RemoteCommands();
  own.add("inspect", "queue_sizes", { args: [["name", "str"]], alias: "sizes" }, () => 1);
  own.add("control", "reload", () => 1);
  assert.deepEqual(commandsOf("inspect", own).at(-1)?.name, "queue_sizes");
  assert.ok(!commandsOf("inspect").some(({ name }) => name === "hello"));
  assert.equal(findCommand("control", "reload", own).name, "reload");
  assert.equal(findCommand("inspect", "sizes", own).name, "queue_sizes");
  assert.equal(REMOTE_ALIASES.get("dump_active"), "active");
  assert.throws(() => own.add("control", "x", undefined as never), UsageError);
});
