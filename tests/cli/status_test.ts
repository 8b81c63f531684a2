/** `status`, `inspect` and `control` from outside, on Redis; what they print is Celery's, from its golden outputs. */

import assert from "node:assert/strict";
import { exitOf } from "../../lib/cli/remote.ts";
import { replyText } from "../../lib/cli/remote_output.ts";
import { ControlClient } from "../../lib/mailbox/mod.ts";
import { MAILBOX_DEFAULTS, replyExchange, requestQueue } from "../../lib/mailbox/mod.ts";
import { connect, type Connection } from "../../lib/transport/mod.ts";
import { acceptedTypes, decodeMailboxRequest, encodeMailboxReply } from "../../lib/wire/mod.ts";
import { freePort } from "../support/ports.ts";
import { lovage, startWorker } from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { startRedis } from "../support/servers.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";

const STYLE = { isQuiet: false, hasColors: false, isHighlighted: true };

Deno.test("replyText: every form of a reply as Celery prints it", () => {
  const node = "w1@example";
  const cases: [reply: unknown, text: string][] = [
    [{ ok: "pong" }, "->  w1@example: OK\n        pong\n"],
    [{ error: "unknown task" }, "->  w1@example: ERROR\n        unknown task\n"],
    [[], "->  w1@example: OK\n    - empty -\n"],
    [["t.add", "t.mul [rate_limit=1/m]"], "->  w1@example: OK\n    * t.add\n    * t.mul [rate_limit=1/m]\n"],
    [
      [{ name: "celery", durable: true, alias: null, bindings: [] }],
      "->  w1@example: OK\n    * {'name': 'celery', 'durable': True, 'alias': None, 'bindings': []}\n",
    ],
    [{ clock: 17 }, '->  w1@example: OK\n    {\n        "clock": 17\n    }\n    \n'],
    [{}, "->  w1@example: OK\n    {}\n    \n"],
    [{ most: Infinity }, '->  w1@example: OK\n    {\n        "most": Infinity\n    }\n    \n'],
    [
      { b: [1, "ž"], a: { y: null, x: [] } },
      '->  w1@example: OK\n    {\n        "a": {\n            "x": [],\n            "y": null\n        },\n' +
      '        "b": [\n            1,\n            "\\u017e"\n        ]\n    }\n    \n',
    ],
    [null, "->  w1@example: OK\n    None\n"],
    ["46.895MB", "->  w1@example: OK\n    46.895MB\n"],
  ];
  for (const [reply, text] of cases) assert.equal(replyText(node, reply, STYLE, true), text);
  assert.equal(replyText(node, { ok: "pong" }, STYLE, false), "->  w1@example: OK\n");
  assert.equal(replyText(node, { ok: 1 }, { ...STYLE, isQuiet: true }, false), " w1@example: OK\n");
});

Deno.test("replyText: a node and its words neither drive the terminal nor forge another node's line", () => {
  const text = replyText(
    "evil\x1b]0;T\x07\n->  other@host: OK",
    { ok: "pong\x1b[2J\n->  x: OK" },
    STYLE,
    true,
  );
  assert.equal(
    text,
    "->  evil\\x1b]0;T\\x07\\n->  other@host: OK: OK\n        pong\\x1b[2J\n        ->  x: OK\n",
  );
});

Deno.test("exitOf: 69 where nobody answered, 1 where every node answered with an error", () => {
  const answer = (...replies: unknown[]) => ({
    replies: replies.map((reply, n) => [`w${n}@x`, reply] as [string, unknown]),
    silent: { count: 0, names: [] },
  });
  assert.equal(exitOf(null), 69);
  assert.equal(exitOf(answer({ error: "unknown task" }, { error: "unknown task" })), 1);
  assert.equal(exitOf(answer({ error: "unknown task" }, { ok: "done" })), 0);
  assert.equal(exitOf(answer({ ok: "done" }, null, [])), 0);
});

Deno.test("status, inspect and control on Redis", async (t) => {
  await using redis = await startRedis();
  const broker = redis.url();
  const run = (...words: string[]) => lovage(words, { env: { CELERY_BROKER_URL: broker } });

  await t.step("nobody there: Celery's words and 69, at once", async () => {
    for (const words of [["status"], ["inspect", "ping", "-t", "30"], ["control", "heartbeat"]]) {
      const { code, out, err } = await run(...words);
      assert.deepEqual([code, out, err], [69, "", "Error: No nodes replied within time constraint\n"]);
    }
    assert.equal((await run("control", "shutdown")).code, 69);
  });

  await t.step("a broker that is not there: one line and 69", async () => {
    const port = freePort();
    const { code, out, err } = await lovage(["-b", `redis://:secret@127.0.0.1:${port}/0`, "status"]);
    assert.deepEqual([code, out], [69, ""]);
    assert.match(err, /^Error: Cannot connect to [^\n]+\n$/);
    assert.doesNotMatch(err, /secret/);
  });

  await t.step("--min and --wait: until a worker that is still starting is there", async () => {
    const waiting = run("status", "--min", "1", "--wait", "30");
    await using _worker = await startWorker({ broker }, ["-n", "w1@example", "-P", "solo"]);
    const { code, out } = await waiting;
    assert.deepEqual([code, out], [0, "->  w1@example: OK\n\n1 node online.\n"]);
    const more = await run("status", "--min", "2", "--wait", "0.2");
    assert.deepEqual([more.code, more.err], [69, "Error: 1 of 2 nodes replied\n"]);
    assert.match(more.out, /1 node online/);

    const json = await run("status", "--json");
    assert.equal(json.out, '{"w1@example": {"ok": "pong"}}\n');
    assert.equal((await run("-q", "status")).out, " w1@example: OK\n");
    const ping = await run("inspect", "-j", "ping");
    assert.equal(ping.out, '{"w1@example": {"ok": "pong"}}\n');
    const absent = await run("inspect", "ping", "-d", "absent@example", "-t", "0.2");
    assert.equal(absent.code, 69);
    assert.equal(
      absent.err,
      "Warning: 1 node did not reply within 0.2 s: absent@example\n" +
        "Error: No nodes replied within time constraint\n",
    );
  });

  await t.step("fifty nodes answer, are printed, and nobody else is waited for", async () => {
    const world = realTestWorld();
    const nodes: Connection[] = [];
    for (let n = 0; n < 50; n++) {
      const connection = await connect(world, broker, CONNECT_OPTIONS);
      nodes.push(connection);
      await connection.declareExchange(replyExchange(MAILBOX_DEFAULTS));
      await connection.subscribe(requestQueue(`n${n}@example`, MAILBOX_DEFAULTS), ({ message }) => {
        const { ticket, replyTo } = decodeMailboxRequest(message, acceptedTypes(["json"]));
        const reply = encodeMailboxReply(
          { hostname: `n${n}@example`, reply: { ok: "pong" }, ticket, clock: 1 },
          { bodyEncoding: "base64" },
        );
        void connection.publish([{ ...replyTo!, message: reply }]);
      });
    }
    const { code, out } = await run("status");
    assert.equal(code, 0);
    assert.equal(out.match(/^-> {2}n\d+@example: OK$/gm)?.length, 50);
    assert.match(out, /\n50 nodes online\.\n$/);
    const begin = performance.now();
    {
      await using cluster = await ControlClient.openUrl(world, broker);
      assert.equal((await cluster.ask({ command: "ping", timeoutMs: 30_000 })).replies.length, 50);
    }
    const ms = performance.now() - begin;
    assert.ok(ms < 20_000, `${ms.toFixed(0)} ms`);
    for (const connection of nodes) await connection.close();
    // Nobody leaves anything behind.
    const last = await connect(world, broker, CONNECT_OPTIONS);
    const left = (await last.bindings()).filter(({ exchange }) => exchange.endsWith(".pidbox"));
    await last.close();
    assert.deepEqual(left, []);
  });

  await t.step("lists, mistakes and help", async () => {
    const list = await run("control", "--list");
    assert.match(list.out, /^Control Commands:\n {2}add_consumer <queue> /);
    assert.equal(list.out.includes("hello"), false);
    assert.match((await run("inspect", "--list", "--json")).out, /^\[{"name": "active", /);
    const cases: [string[], RegExp][] = [
      [["inspect", "pings"], /^Error: No such inspect command "pings": did you mean "ping"\?\n$/],
      [["inspect"], /^Error: Missing command/],
      [["control", "pool_grow", "much"], /^Error: pool_grow: n must be a whole number, not "much"\n$/],
      [
        ["status", "-t", "soon"],
        /^Error: Cannot use --timeout "soon": it must be a number of seconds from 0 to \d+\n/,
      ],
      [["status", "--min", "0"], /^Error: Cannot use --min "0": it must be a whole number of at least 1/],
      [["status", "--colour"], /Unknown option "--colour"/],
      [["status", "extra"], /too many arguments|unexpected/i],
    ];
    for (const [words, text] of cases) {
      const { code, out, err } = await run(...words);
      assert.deepEqual([code, out], [64, ""], words.join(" "));
      assert.match(err, text);
    }
    for (const name of ["status", "inspect", "control"]) {
      const help = await run(name, "--help");
      assert.equal(help.code, 0);
      assert.match(help.out, new RegExp(`^Usage: lovage ${name} [^]*--destination[^]*--json`));
    }
  });
});

Deno.test("commands of an App's own are listed, called and answered by name", async () => {
  await using redis = await startRedis();
  const folder = await Deno.makeTempDir();
  const app = `${folder}/own.ts`;
  await Deno.writeTextFile(
    app,
    `import { App } from "lovage";
export const app = new App("own", { broker_url: "${redis.url()}" });
app.inspectCommand("greet", { args: [["name", "str"], ["times", "int"]], signature: "<name> [times]", help: "Says hello" },
  ({ hostname }, { name, times = 1 }) => ({ ok: \`hello \${name} \${times} from \${hostname}\` }));
`,
  );
  await using _worker = await startWorker({}, ["-n", "w1@own", "-P", "solo"], { app });
  const greet = await lovage(["-A", app, "inspect", "greet", "Eva", "3"]);
  assert.equal(greet.out, "->  w1@own: OK\n        hello Eva 3 from w1@own\n\n1 node online.\n");
  assert.match(
    (await lovage(["-A", app, "inspect", "--list"])).out,
    /\n {2}greet <name> \[times\] +Says hello\n/,
  );
  await Deno.remove(folder, { recursive: true });
});
