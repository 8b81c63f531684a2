/** The first paint: what it needs, what it says, and that nothing that tasks say can leave its text. */

import assert from "node:assert/strict";
import type { Shape } from "../../../../lib/console/api/v1/schema.ts";
import { neededFor, page } from "../../../../lib/console/web/shell.ts";

const SESSION: Shape<"Session"> = {
  user: null,
  isLoggedIn: true,
  scope: "admin",
  actions: ["purge", "retry"],
  isReadOnly: false,
  logins: [],
  oidcName: null,
  prefix: "",
  version: "0.0.0",
  broker: "redis://host/0",
  hasResults: true,
  hasHistory: true,
  hasModule: false,
  taskColumns: [],
  isNaturalTime: false,
  autoRefresh: true,
  now: 1_796_000_000,
};
const EVIL = `</script><script>alert(1)</script><img src=x onerror=alert(2)>"'`;
const QUEUES: Shape<"QueueList"> = {
  rows: [{
    name: EVIL,
    ready: 1234,
    priorities: [],
    unacked: null,
    parked: null,
    limited: null,
    dead: null,
    failed: null,
    consumers: 2,
    oldest: 75,
    isPaused: false,
  }],
  dead: 0,
  failed: 0,
  why: null,
};

Deno.test("neededFor names what a page is made of, by its address without the prefix", () => {
  const needed = (url: string, prefix = "") => neededFor(url, prefix);
  assert.deepEqual(needed("/"), ["overview"]);
  assert.deepEqual(needed("/?window=900"), ["overview?window=900"]);
  assert.deepEqual(needed("/x/tasks?search=a%20b&sort=-runtime&cols=name", "/x"), [
    "tasks?search=a+b&sort=-runtime",
  ]);
  assert.deepEqual(needed("/task/a%2Fb"), ["tasks/a%2Fb"]);
  assert.deepEqual(needed("/worker/celery@host"), ["workers/celery%40host"]);
  assert.deepEqual(needed("/task/100%"), ["tasks/100%25"]);
  assert.deepEqual(needed("/dead"), ["letters/dead", "letters/failed"]);
  assert.deepEqual(needed("/login"), []);
  assert.equal(needed("/nowhere"), null);
});

Deno.test("page draws the answers, and their texts stay texts", () => {
  const html = page("/queues", { queues: QUEUES }, SESSION);
  assert.match(html, /1,234/);
  assert.match(html, /1 m 15 s/);
  assert.match(html, /Purge/);
  assert.ok(!html.includes("<img"), "no element of others");
  assert.equal(html.match(/<script/g)!.length, 2);
  const data = /<script type="application\/json" id="data">(.*)<\/script>/.exec(html)![1]!;
  assert.equal(JSON.parse(data).data.queues.rows[0].name, EVIL);
  assert.doesNotMatch(html, /\sstyle=|\son\w+="/);
});

Deno.test("page of a task links its workers, not the program that sent it", () => {
  const event = { at: SESSION.now, detail: null };
  const task: Shape<"Task"> = {
    row: {
      id: "1",
      name: "shop.add",
      state: "RECEIVED",
      args: null,
      kwargs: null,
      result: null,
      exception: null,
      worker: null,
      queue: null,
      sent: SESSION.now,
      received: SESSION.now,
      started: null,
      ended: null,
      updated: SESSION.now,
      runtime: null,
      waited: null,
      retries: null,
      eta: null,
      expires: null,
      rootId: null,
      parentId: null,
    },
    client: "gen1@web",
    exchange: null,
    routingKey: null,
    traceback: null,
    extra: {},
    timeline: [
      { ...event, type: "task-sent", worker: "gen1@web" },
      { ...event, type: "task-received", worker: "celery@pod" },
    ],
    parent: null,
    root: null,
    children: [],
    graph: { nodes: [], edges: [], isCut: false },
    stored: null,
    exact: null,
    canRetry: true,
    whyNot: null,
  };
  const html = page("/task/1", { "tasks/1": task }, SESSION);
  assert.match(html, /gen1@web/);
  assert.deepEqual([...html.matchAll(/href="(\/worker\/[^"]*)"/g)].map(([, link]) => link), [
    "/worker/celery%40pod",
  ]);
});

Deno.test("page has no button of an action that the session may not do", () => {
  const html = page("/queues", { queues: QUEUES }, { ...SESSION, actions: [], isReadOnly: true });
  assert.doesNotMatch(html, /Purge/);
  assert.match(html, /read only/);
});

Deno.test("page has the look of the cookie, the prefix in its addresses, and says so where there is none", () => {
  const html = page("/x/nowhere", {}, { ...SESSION, prefix: "/x" }, {
    cookie: "a=b; lovage_theme=dark",
    version: "1",
  });
  assert.match(html, /<html lang="en" data-theme="dark">/);
  assert.match(html, /src="\/x\/assets\/console\.js\?v=1"/);
  assert.match(html, /href="\/x\/tasks"/);
  assert.match(html, /No such page/);
  assert.match(page("/", {}, SESSION, { cookie: 'lovage_theme="><b>' }), /<html lang="en">/);
});
