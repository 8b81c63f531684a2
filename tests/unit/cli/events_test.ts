/** `lovage events`: its lines, screen and keys, without a terminal. */

import assert from "node:assert/strict";
import { EventDumper } from "../../../lib/cli/events_dump.ts";
import { keysOf } from "../../../lib/cli/events_live.ts";
import { EventsScreen } from "../../../lib/cli/events_screen.ts";
import { ClusterState, type ReceivedEvent } from "../../../lib/event/mod.ts";
import { type FakeWorld, fakeWorld } from "../../support/fake_world.ts";
import stringWidth from "string-width";

Deno.test("EventDumper: nothing that a terminal would act on", () => {
  const line = new EventDumper().line({
    type: "worker-online",
    hostname: "w\u001b]0;title\u0007",
    timestamp: NaN,
    x: "\u001b[2J",
  } as unknown as ReceivedEvent);
  // deno-lint-ignore no-control-regex -- that there is none
  assert.doesNotMatch(line, /[\u0000-\u0008\u000b-\u001f]/);
});

function rig(): {
  world: FakeWorld;
  state: ClusterState;
  screen: EventsScreen;
  keys(...keys: string[]): unknown[];
} {
  const world = fakeWorld();
  const state = new ClusterState({ world });
  const screen = new EventsScreen(state, { nowMs: () => world.clock.wallMs(), isColored: false });
  let clock = 0;
  const send = (type: string, fields: Record<string, unknown>): void => {
    const now = world.clock.wallMs() / 1000;
    const common = {
      hostname: "w1@x",
      utcoffset: 0,
      pid: 1,
      clock: ++clock,
      timestamp: now,
      local_received: now,
    };
    state.event({ type, ...common, ...fields });
  };
  send("worker-online", { freq: 2, active: 1, processed: 3, sw_ident: "lovage", loadavg: [1, 2, 3] });
  for (let n = 0; n < 30; n++) {
    send("task-received", { uuid: `id-${n}`, name: `日本.task${n}`, args: "(1,)" });
  }
  send("task-failed", {
    uuid: "id-3",
    exception: "ValueError('x')",
    traceback: "Traceback:\n  line\u001b[31m\nValueError: x",
  });
  return { world, state, screen, keys: (...keys) => keys.map((key) => screen.onKey(key)) };
}

Deno.test("EventsScreen: fits every size, shows newest tasks first, and follows the selection", () => {
  const { screen, keys } = rig();
  for (const [columns, rows] of [[130, 30], [60, 12], [20, 5], [300, 60]] as const) {
    const lines = screen.render(columns, rows);
    assert.ok(lines.length <= rows);
    for (const line of lines) assert.ok(stringWidth(line) <= columns, `${columns}: ${line}`);
  }
  const text = screen.render(120, 20).join("\n");
  assert.match(text, /id-3 .*FAILURE/);
  assert.match(text, /Workers online: w1@x/);
  assert.match(text, /events: 32 tasks:30 workers:1\/1/);
  keys("j");
  assert.equal(screen.selectedTask?.uuid, "id-3");
  keys("j", "k", "k");
  assert.equal(screen.selectedTask?.uuid, "id-3");
  keys("G");
  assert.equal(screen.selectedTask?.uuid, "id-0");
  assert.match(screen.render(120, 20).join("\n"), /id-0 /);
  assert.doesNotMatch(screen.render(120, 20).join("\n"), /id-29 /);
});

Deno.test("EventsScreen: details, traceback, workers, revoke and rate limit from the keyboard", () => {
  const { screen, keys } = rig();
  keys("down", "i");
  assert.match(screen.render(120, 30).join("\n"), /Task details for id-3[\s\S]*exception: ValueError\('x'\)/);
  keys("x", "t");
  assert.match(screen.render(120, 30).join("\n"), /Traceback for id-3[\s\S]*line\\x1b\[31m/);
  keys("escape");
  assert.deepEqual(keys("c", "C"), [
    { kind: "revoke", id: "id-3", terminate: false },
    { kind: "revoke", id: "id-3", terminate: true },
  ]);
  keys("l");
  assert.deepEqual(keys("1", "0", "/", "h", "backspace", "m", "enter").at(-1), {
    kind: "rate-limit",
    name: "日本.task3",
    rate: "10/m",
  });
  screen.showReplies({
    "w1@x": { ok: "new rate limit set successfully" },
    "w2@x": { error: "unknown task" },
  });
  assert.match(
    screen.render(120, 30).join("\n"),
    /w1@x: new rate limit set successfully\n.*w2@x: unknown task/,
  );
  keys("q", "w", "j", "enter");
  assert.match(screen.render(120, 30).join("\n"), /Worker w1@x[\s\S]*processed: 3/);
  keys("q");
  assert.match(screen.render(120, 30).join("\n"), /w1@x .*ONLINE .*lovage/);
  assert.deepEqual(keys("q"), [{ kind: "quit" }]);
});

Deno.test("keysOf: characters, arrows, several at once, and nothing of sequences nobody knows", () => {
  assert.deepEqual(keysOf("jk\u001b[A\u001bOB\r\u007f\u0003"), [
    "j",
    "k",
    "up",
    "down",
    "enter",
    "backspace",
    "quit",
  ]);
  assert.deepEqual(keysOf("\u001b[15~\u001b[1;5C\u0001x"), ["x"]);
  assert.deepEqual(keysOf("\u001b"), ["escape"]);
});
