/**
 * The house rules, as a test: who may import whom, what may be said where, and that everything exported is explained.
 * The layers are data here; docs/architecture.md tells why.
 */

import assert from "node:assert/strict";
import {
  circles,
  functionsOf,
  memberAt,
  readAll,
  roomOf,
  ROOT,
  type Source,
  Users,
  walk,
} from "./support/sources.ts";

/** Rooms of lib/ by layer; a room imports only rooms of lower layers. */
const LAYERS: readonly (readonly string[])[] = [
  ["base"],
  ["blueprint", "metrics", "wire"],
  ["net"],
  ["platform", "redis", "amqp", "sqlite"],
  ["transport", "backend", "canvas", "trace"],
  ["app"],
  ["pool", "mailbox", "event", "http"],
  ["worker", "beat", "multi"],
  ["console"],
  ["cli"],
];

/** Arrows within a layer, or that the layers do not give. */
const ARROWS: readonly (readonly [string, string])[] = [
  ["worker", "beat"], // -B, the embedded beat
  ["cli", "worker"],
  ["sqlite", "platform"], // files
];

/**
 * The doors of users, which may import any room: the library in the program, the one in the npm package, and what both
 * have.
 */
const PUBLIC_DOORS: readonly string[] = ["lib/mod.ts", "lib/client.ts", "lib/door.ts"];

/**
 * The floors of a room, lowest first: its rooms, files of its own (`x.ts`), and `*` for the files that are not named. A
 * place imports what lies on lower floors, and itself; files of the room's own may import each other on one floor.
 */
const FLOORS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  app: [["call"], ["conf"], ["core.ts"], ["broker"], ["result"], ["send"], ["run"], ["*"]],
  worker: [
    ["errors.ts", "options.ts", "signums.ts", "stop.ts", "texts.ts", "worker_app.ts"],
    ["lane"],
    ["core.ts"],
    ["control"],
    ["consumer"],
    ["*"],
  ],
  transport: [["*"], ["redis", "amqp", "embedded"], ["registry.ts"]],
  pool: [["pool.ts", "feeding.ts", "runner.ts"], ["link"], ["sandbox"], ["child"], ["*"]],
  // `web` is the browser's code: it takes types of `api`.
  console: [["shapes.ts"], ["history", "auth"], ["cluster"], ["api"], ["web"], ["*"]],
  wire: [["*"], ["json", "resp"], ["amqp"], ["serializer"], ["message"]],
};

/** Two classes that are one thing, a connection and its channels. */
const AMQP_PAIR = ["lib/amqp/channel.ts", "lib/amqp/connection.ts"];

/** What is longer than 500 lines, and why it is one thing. */
const LONG_FILES = new Set<string>([]);

/** Functions of more than 70 lines, by file. */
const LONG_FUNCTIONS = new Set<string>([
  "lib/cli/events_live.ts showLive", // one loop over one screen
]);

/** Files on the path of a task message: synchronous, batched, no promise per message. */
const DATA_LANE: readonly string[] = [
  ...["outbox", "ring", "seq_map", "timer_heap"].map((name) => `lib/base/${name}.ts`),
  ...["decoder", "encoder"].map((name) => `lib/wire/resp/${name}.ts`),
  ...["frame", "method", "properties", "table"].map((name) => `lib/wire/amqp/${name}.ts`),
  ...["carried", "json", "number_sources", "reader"].map((name) => `lib/wire/json/${name}.ts`),
  ...["chain_steps", "envelope", "event_message", "message", "result_meta", "task_decoder", "task_message"]
    .map((name) => `lib/wire/message/${name}.ts`),
  ...["confirms", "content"].map((name) => `lib/amqp/${name}.ts`),
  ...["base64", "decimal", "known_texts", "python_repr", "traceparent"].map((name) => `lib/wire/${name}.ts`),
  ...["histogram", "task_metrics"].map((name) => `lib/metrics/${name}.ts`),
  "lib/redis/reply_queue.ts",
  "lib/transport/routing.ts",
  "lib/transport/amqp/message.ts",
  ...["message_queue", "messages", "topology"].map((name) => `lib/transport/embedded/memory/${name}.ts`),
  ...["counter", "messages", "parked", "topology"].map((name) => `lib/transport/embedded/sqlite/${name}.ts`),
  "lib/transport/redis/envelope.ts",
  "lib/transport/redis/keys.ts",
  "lib/pool/feeder.ts",
  "lib/pool/feeding.ts",
  "lib/pool/held.ts",
  "lib/pool/slot.ts",
  "lib/pool/time_limits.ts",
  "lib/pool/link/slot_end.ts",
  "lib/pool/link/journal.ts",
  "lib/pool/link/frame.ts",
  "lib/pool/link/slot_message.ts",
  "lib/app/run/trace_outcome.ts",
  ...[
    "body_shape",
    "lane",
    "listeners",
    "parts",
    "pending",
    "rate_limit",
    "refusals",
    "request",
    "request_states",
  ]
    .map((name) => `lib/worker/lane/${name}.ts`),
  ...["revoked", "revoked_stamps", "settle", "state", "strategy", "window"]
    .map((name) => `lib/worker/lane/${name}.ts`),
];

/**
 * Files of which one part lies on that path, with the members that do not: they open, close, or wait on behalf of the
 * control lane. All other members keep the law.
 */
const LANE_BESIDES: Readonly<Record<string, readonly string[]>> = {
  // A promise a chunk read or written.
  "lib/net/batched_stream.ts": [
    "lost",
    "constructor",
    "logIn",
    "drained",
    "flush",
    "close",
    "#writeSlices",
    "#readLoop",
  ],
  // Commands of the control lane are calls; those of the data lane are sent with a sink.
  "lib/redis/connection.ts": [
    "open",
    "#openAs",
    "lost",
    "call",
    "ask",
    "callAll",
    "drained",
    "close",
    "[Symbol.asyncDispose]",
    "#exchange",
    "#redirected",
  ],
  // Likewise.
  "lib/amqp/channel.ts": [
    "call",
    "callUnheard",
    "get",
    "consume",
    "cancel",
    "selectConfirms",
    "close",
    "#call",
  ],
  "lib/amqp/connection.ts": [
    "open",
    "lost",
    "unblocked",
    "renewLogin",
    "updateSecret",
    "openChannel",
    "drained",
    "close",
    "[Symbol.asyncDispose]",
    "#login",
    "#next",
  ],
  // `handOn` tells its caller when the broker has the message.
  "lib/transport/redis/consumer.ts": [
    "announce",
    "route",
    "listen",
    "#closing",
    "open",
    "#start",
    "#takeOver",
    "lost",
    "addQueue",
    "cancelQueue",
    "handOn",
    "pause",
    "flush",
    "close",
    "#close",
    "#giveParkedBack",
  ],
  "lib/transport/redis/fetch.ts": ["startTracking", "#probe", "removeQueue", "pause", "#idle"],
  "lib/transport/redis/unacked.ts": ["restoreAll", "#restore"],
  // RabbitMQ parks and refuses by publishing: the acknowledgement waits for the confirm.
  "lib/transport/amqp/consumer.ts": [
    "publish",
    "deadLetters",
    "deadLetter",
    "resume",
    "#startLate",
    "#onCancelled",
    "onQueue",
    "#moving",
    "#closing",
    "open",
    "addQueue",
    "cancelQueue",
    "pause",
    "flush",
    "close",
    "#close",
    "#start",
    "#consumeAll",
    "#consume",
    "#cancelAll",
    "#restart",
    "#move",
  ],
  // Consumers that count for themselves are started again.
  "lib/transport/amqp/prefetch.ts": ["restart", "#restart", "#restarting", "idle"],
  "lib/sqlite/database.ts": ["open", "openInMemory"],
  "lib/transport/embedded/consumer.ts": [
    "flushed",
    "write",
    "addQueue",
    "cancelQueue",
    "pause",
    "flush",
    "close",
  ],
  "lib/transport/embedded/memory/store.ts": ["connectMemory"],
  "lib/transport/embedded/sqlite/store.ts": ["connectSqlite"],
  "lib/pool/slot_pool.ts": [
    "start",
    "onPublish",
    "grow",
    "shrink",
    "restart",
    "drain",
    "terminateAll",
    "close",
    "#openSlots",
  ],
  // An async task is a promise by itself; a publish is awaited by the task.
  "lib/pool/child/engine.ts": ["drained", "#pump", "#stop", "publish", "#runInOrder", "#beginAll", "#run"],
  "lib/wire/serializer/serializer.ts": ["offers", "loadSerializer", "offerSerializer"],
  // The worker's process is the slot.
  "lib/pool/solo.ts": [
    "start",
    "grow",
    "shrink",
    "restart",
    "drain",
    "terminateAll",
    "close",
    "#run",
    "#await",
  ],
  // The end of a slot, and of its socket; a promise a chunk written.
  "lib/pool/link/host.ts": ["close", "#ended", "ended"],
  "lib/pool/link/pump.ts": ["#writing", "run", "drained", "#write"],
  // As the transport's.
  "lib/worker/lane/hand_on.ts": ["handOn"],
  "lib/worker/lane/failed_keeper.ts": ["#flush"],
  // A result store may be slow: one promise a batch.
  "lib/backend/queue.ts": ["write", "flush", "#attempt"],
  "lib/backend/redis_writer.ts": ["write", "#unguarded", "#writePlainly", "save"],
};

/** Code that runs in a browser, and is rendered by the server: it has a browser's JSON, and its clock in one file. */
const BROWSER = "lib/console/web/";
const CLOCK_OF_BROWSERS = `${BROWSER}clock.ts`;
/** The World's own dialer: under it there is no clock. */
const DIALER = "lib/net/dialer.ts";
/** Who needs chance that nobody can foresee, which no test may steer. */
const SECRETS = new Set(["lib/console/auth/secrets.ts", "lib/wire/json/number_sources.ts"]);
/** What only a browser has. */
const OF_BROWSERS =
  /\b(localStorage|sessionStorage|document\.(body|cookie|title|querySelector|getElementById|createElement|addEventListener))\b/;

/** What the data lane does without. */
const LANE_BANS = /\b(async|await|Promise|AbortController|setTimeout)\b|\.(then|catch|finally)\(/;

/** Where `Deno.` may stand: the rooms that touch the operating system. */
const DENO_ROOMS = new Set(["platform", "net", "cli"]);
/** Files that read what a person names: certificates, and a log or standard input. */
const FILE_READERS = new Set(["lib/net/tls.ts", "lib/cli/logtool.ts"]);
/** Where processes begin and end. */
const PROGRAMS = new Set(["main.ts", "lib/pool/child/child_main.ts"]);
/** What may ask where its own file is. */
const KNOW_THEIR_PLACE = new Set(["lib/base/own_frames.ts", "lib/platform/form.ts"]);
/** Types of `Deno` that are no call. */
const DENO_TYPES = /\bDeno\.(Signal|PermissionOptionsObject|FsWatcher|Kv|KvEntry)\b/g;

/** Who writes escape sequences of our own to the terminal, and escapes what they put between them. */
const STYLED = new Set(
  ["events_live", "multi", "remote", "status_remote"].map((name) => `lib/cli/${name}.ts`),
);

/**
 * Where JSON.stringify and JSON.parse may stand. Everywhere else values may be anything that the wire or a user's code
 * brings: `toJson` (wire/json/json.ts) writes them, `shownJson` for people;
 * `fromJson`, `fromPlainJson` and `fromTypedJson` read them; `quoted` puts a text in quotes.
 */
const JSON_WRITERS = new Set([
  "lib/base/quoted.ts",
  // Answers for browsers, whose JSON has no NaN.
  "lib/console/api/json.ts",
  // Runs where no module of ours is; it writes texts.
  "lib/platform/sandbox_prelude.ts",
  "lib/wire/json/json.ts",
]);
const JSON_READERS = new Set([
  "lib/wire/json/number_sources.ts",
  "lib/wire/json/reader.ts",
  // Settings that the user wrote: numbers are those of JavaScript there.
  "lib/app/loader.ts",
  "lib/app/conf/kinds.ts",
  "lib/platform/project.ts",
  // Files that we made ourselves, of texts and small numbers.
  "lib/beat/store.ts",
  "lib/multi/memory.ts",
  "lib/multi/unit_files.ts",
]);

/** Where TypeScript of ours lies. */
const PLACES = ["lib", ".ci", "tests", "examples", "bench"];

/** Where JavaScript's own matcher is given a pattern that is made: of texts of ours, single letters, or by the user. */
const PATTERN_MAKERS = new Set([
  "lib/app/conf/routing.ts", // the user's own regular expressions in task_routes
  "lib/base/glob.ts", // one letter
  "lib/base/linear_pattern.ts", // one letter
  "lib/base/shown.ts",
  "lib/beat/interval.ts",
  "lib/platform/log_sink.ts", // the user's own log format
  "lib/platform/time_zone.ts",
  "lib/wire/times.ts",
]);

const sources = readAll(["lib", "main.ts"]);
/** What is no product: tests, examples and tools. */
const others = readAll(["tests", "examples", "bench", ".ci"]);
const byPath = new Map(sources.map((source) => [source.path, source]));

Deno.test("tidy: rooms import only lower rooms, through their door", () => {
  const wrong: string[] = [];
  const layerOf = new Map(LAYERS.flatMap((rooms, layer) => rooms.map((room) => [room, layer] as const)));
  for (const { path, room, imports } of sources) {
    for (const { target } of imports) {
      const to = roomOf(target);
      if (PUBLIC_DOORS.includes(path) || path === "main.ts" || to === room || to === "") continue;
      if (!target.endsWith("/mod.ts")) wrong.push(`${path} imports ${target}, not ${to}/mod.ts`);
      const isAllowed = (layerOf.get(to) ?? 99) < (layerOf.get(room) ?? -1) ||
        ARROWS.some(([from, into]) => from === room && into === to);
      if (!isAllowed) wrong.push(`${path} (${room}) may not import ${to}`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: inside a room, imports run down", () => {
  const wrong: string[] = [];
  for (const { path, room, imports } of sources) {
    const floors = FLOORS[room];
    if (floors === undefined || path.endsWith("/mod.ts")) continue;
    for (const { target, isEntry } of imports) {
      if (roomOf(target) !== room || isEntry) continue;
      const [from, to] = [placeIn(room, path), placeIn(room, target)];
      if (
        to.floor > from.floor ||
        to.floor === from.floor && to.name !== from.name && (to.isRoom || from.isRoom)
      ) {
        wrong.push(`${path} -> ${target}`);
      }
    }
  }
  assert.deepEqual(wrong, [], "imports that run up");
});

Deno.test("tidy: no import cycle, types counted", () => {
  const found = circles(sources).filter((group) => group.join() !== AMQP_PAIR.join());
  assert.deepEqual(found.flat(), [], "files in a circle");
});

Deno.test("tidy: no dead file", () => {
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const { target } of byPath.get(path)?.imports ?? []) visit(target);
  };
  for (
    const entry of [
      "main.ts",
      ...PUBLIC_DOORS,
      "lib/pool/child/child_main.ts",
      "lib/pool/child/child_thread.ts",
      "lib/http/isolate_main.ts",
      `${BROWSER}main.tsx`,
      `${BROWSER}shell.ts`,
    ]
  ) {
    visit(entry);
  }
  assert.deepEqual(sources.map(({ path }) => path).filter((path) => !reached.has(path)), []);
});

Deno.test("tidy: words that do not belong", () => {
  const wrong: string[] = [];
  const bans: [RegExp, (source: Source) => boolean][] = [
    [
      /\b(setTimeout|setInterval|Date\.now|performance\.now|Temporal\.Now\.(?!timeZoneId\b)|new Date\(\))/,
      ({ room, path }) => room !== "platform" && path !== CLOCK_OF_BROWSERS,
    ],
    [/\bAbortSignal\.timeout\b/, ({ room, path }) => room !== "platform" && path !== DIALER],
    [OF_BROWSERS, ({ path }) => !path.startsWith(BROWSER)],
    [/\bMath\.random\b/, () => true],
    [
      /\bcrypto\.(randomUUID|getRandomValues)\b/,
      ({ room, path }) => room !== "platform" && !SECRETS.has(path),
    ],
    // The first use of this global costs every start 80 ms of processor time.
    [/\bprocess\.[a-z]/, ({ room, path }) => room !== "platform" && path !== "lib/base/builtin.ts"],
    // In the bundle modules lie elsewhere, in other files: two know where.
    [/\bimport\.meta\.url\b/, ({ path }) => !KNOW_THEIR_PLACE.has(path)],
    // What goes out goes through the log or the terminal, which escape what comes from outside.
    [/\bDeno\.(stdout|stderr)\b/, ({ room }) => room !== "platform"],
    [/\.styled\(/, ({ path }) => !STYLED.has(path)],
    [/\bconsole\.(log|info|debug|warn|error|trace|dir|table)\b/, ({ room }) => room !== "platform"],
    [/\bas any\b|:\s*any\b|<any>/, () => true],
  ];
  for (const source of sources) {
    source.code.split("\n").forEach((line, index) => {
      for (const [ban, applies] of bans) {
        const found = ban.exec(line);
        if (found && applies(source)) wrong.push(`${source.path}:${index + 1} ${found[0]}`);
      }
      if (!DENO_ROOMS.has(source.room) && !PROGRAMS.has(source.path)) {
        const rest = line.replaceAll(DENO_TYPES, "");
        if (/\bDeno\./.test(rest)) wrong.push(`${source.path}:${index + 1} Deno. outside platform`);
      }
    });
    const odd = /(?<!\b[Tt]here )\b(?:is|are|was|were) (?:no(?! longer\b)|none)\b/.exec(source.text);
    if (odd) wrong.push(`${source.path} "${odd[0]}": "is not a …" reads better`);
    for (const word of ["TODO", "FIXME", "@ts-ignore", "@ts-nocheck", "@ts-expect-error"]) {
      if (source.text.includes(word)) wrong.push(`${source.path} ${word}`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: files are read, replaced and removed by the functions of platform, which look what lies there", () => {
  const wrong: string[] = [];
  const calls =
    /\bDeno\.(read(Text)?File|write(Text)?File|open|openKv|rename|remove|mkdir|chmod|chown|link|symlink|truncate|utime)(Sync)?\(/;
  for (const { path, room, code, text } of sources) {
    const isReader = FILE_READERS.has(path);
    code.split("\n").forEach((line, index) => {
      const found = calls.exec(line);
      if (found && room !== "platform" && !isReader) wrong.push(`${path}:${index + 1} ${found[0]}`);
    });
    // Others may have made a file beside whose name they can foresee: makeFileBeside.
    if (/[.-]\$\{Deno\.pid\}/.test(text)) wrong.push(`${path} names a file by our pid`);
    // One place makes databases that others may not read, and waits for other processes: Database (sqlite).
    const opens = code.match(/new DatabaseSync\((?!path, \{ readOnly: true \}\))/g) !== null;
    if (opens && path !== "lib/sqlite/database.ts") wrong.push(`${path} opens a database: Database.open`);
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: values are written and read as JSON in one way", () => {
  const wrong: string[] = [];
  for (const { path, text } of sources) {
    // Templates are looked into, comments are not.
    const lines = text.replace(/\/\*[\s\S]*?\*\//g, (part) => part.replace(/[^\n]/g, "")).split("\n");
    lines.forEach((line, index) => {
      const found = /\bJSON\.(stringify|parse)\b/.exec(line.replace(/^\s*\/\/.*/, ""));
      const allowed = found?.[1] === "stringify" ? JSON_WRITERS : JSON_READERS;
      if (found && !allowed.has(path) && !path.startsWith(BROWSER)) {
        wrong.push(`${path}:${index + 1} ${found[0]}`);
      }
    });
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: a browser's code takes nothing but types from the rest, and styles and scripts stand in files", () => {
  const wrong: string[] = [];
  for (const { path, imports, text } of sources) {
    if (!path.startsWith(BROWSER)) continue;
    for (const { target, isType } of imports) {
      if (!target.startsWith(BROWSER) && !isType) wrong.push(`${path} imports ${target}`);
    }
    const inline = /\bdangerouslySetInnerHTML\b|\binnerHTML\b|\bstyle=/.exec(text);
    if (inline !== null) wrong.push(`${path} ${inline[0]}`);
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: a URL's pathname is no path, and a path no part of a URL", () => {
  const wrong: string[] = [];
  const everything = [...PLACES.flatMap(walk), "main.ts"].filter((path) => path.endsWith(".ts"));
  for (const path of everything) {
    if (path === "lib/base/file_url.ts" || path === "tests/tidy_test.ts") continue;
    Deno.readTextFileSync(ROOT + path).split("\n").forEach((line, index) => {
      // A database or virtual host is the pathname without its slash.
      const found = /\.pathname\b(?!\.slice\(1\))|[`"]file:\/\/(\$\{|"\s*\+)|\bencodeURI\(/.exec(line);
      if (found) wrong.push(`${path}:${index + 1} ${found[0]}: use filePath and fileUrl (base)`);
    });
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: patterns that others wrote are matched in linear time", () => {
  const wrong = sources.filter(({ code, path }) => /\bRegExp\(/.test(code) && !PATTERN_MAKERS.has(path));
  assert.deepEqual(wrong.map(({ path }) => `${path}: LinearPattern or Glob`), []);
});

Deno.test("tidy: what tests make in the temporary folder, they remove", () => {
  const wrong = walk("tests").filter((path) => path.endsWith(".ts")).filter((path) => {
    const text = Deno.readTextFileSync(`${ROOT}${path}`);
    return /Deno\.makeTemp/.test(text) && !/Deno\.remove(Sync)?\(/.test(text);
  });
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: tests speak one dialect of assertions: assert.ok, assert.equal, of node:assert/strict", () => {
  const wrong = others.filter(({ path, code, text }) =>
    path.startsWith("tests/") &&
    (/(?<![.\w])assert\(|\bassert\.(not)?(s|deepS|DeepS|S)trictEqual\b/.test(code) ||
      /^import (?!assert ).* from "node:assert|^import .* from "(?!node:assert\/strict").*\b(assert|expect)\b/m
        .test(text))
  );
  assert.deepEqual(wrong.map(({ path }) => path), []);
});

Deno.test("tidy: every test is run and looked at for leaks, and no unit test waits or measures by the wall clock", () => {
  const { test } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  assert.deepEqual([test.sanitizeOps, test.sanitizeResources], [true, true]);
  const wrong = others.filter(({ path, code }) =>
    path.startsWith("tests/") &&
    (/\bsanitize\w+:|\bDeno\.test\.(ignore|only)\b|\bignore: true\b/.test(code) ||
      // A turn of the loop, `setTimeout(fn, 0)`, is no time.
      path.startsWith("tests/unit/") && /\bperformance\.now\b|\bsetTimeout\(.*, (?!0\))/.test(code))
  );
  assert.deepEqual(
    wrong.map(({ path }) => path),
    [],
    "cpuMsOf (support/cpu_time.ts) measures what must not take long",
  );
});

Deno.test("tidy: the data lane makes no promise", () => {
  const wrong: string[] = [];
  const mixed = Object.keys(LANE_BESIDES);
  for (const path of [...DATA_LANE, ...mixed]) {
    const source = byPath.get(path);
    assert.ok(source, `the data lane lists ${path}, which is not there`);
    const besides = new Set(LANE_BESIDES[path] ?? []);
    const needed = new Set<string>();
    source.code.split("\n").forEach((line, index) => {
      const found = LANE_BANS.exec(line);
      if (found === null) return;
      const member = memberAt(source, index + 1);
      if (besides.has(member)) needed.add(member);
      else wrong.push(`${path}:${index + 1} ${found[0]} in ${member}`);
    });
    for (const member of besides) {
      if (!needed.has(member)) wrong.push(`${path}: ${member} keeps the law by now`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: objects of a class have all their fields from the start: null, and none that is optional", () => {
  const wrong = sources.flatMap(({ path, code }) =>
    [...code.matchAll(/^(?:export )?(?:abstract )?class \w[^]*?^\}/gm)].flatMap(([body]) =>
      [...body.matchAll(/^ {2}(?:readonly |static )*(#?\w+)[?!]:/gm)].map(([, name]) => `${path} ${name}`)
    )
  );
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: files of at most 500 lines, functions of at most 70", () => {
  const files: string[] = [];
  const functions: string[] = [];
  for (const source of sources) {
    if (source.text.split("\n").length > 501) files.push(source.path);
    for (const { head, lines } of functionsOf(source)) {
      if (lines > 70) functions.push(`${source.path} ${/(\w+)\(/.exec(head)?.[1] ?? head}`);
    }
  }
  assert.deepEqual(functions.filter((name) => !LONG_FUNCTIONS.has(name)), []);
  assert.deepEqual(files.filter((path) => !LONG_FILES.has(path)), [], "files over 500 lines");
  assert.deepEqual([...LONG_FILES].filter((path) => !files.includes(path)), [], "short enough by now");
  assert.deepEqual(
    [...LONG_FUNCTIONS].filter((name) => !functions.includes(name)),
    [],
    "short enough by now",
  );
});

Deno.test("tidy: the header of a room's door names every file", () => {
  const wrong: string[] = [];
  for (const { path, room } of sources) {
    if (room === "" || path === `lib/${room}/mod.ts`) continue;
    const header = /^\/\*\*[\s\S]*?\*\//.exec(byPath.get(`lib/${room}/mod.ts`)!.text)![0];
    const name = path.slice(`lib/${room}/`.length).replaceAll(".", "\\.");
    if (!new RegExp(`(^|[\\s(])${name}\\b`).test(header)) wrong.push(path);
  }
  assert.deepEqual(wrong, [], "files that no header names");
});

Deno.test("tidy: every export has a user in the product", () => {
  // A type that an exported declaration of its own file speaks of is part of that; so is a function that the file uses
  // and a test calls.
  const users = new Users([...sources, ...others], PUBLIC_DOORS);
  const wrong: string[] = [];
  for (const { path, declared, text } of sources) {
    if (PUBLIC_DOORS.includes(path)) continue;
    for (const [name, kind] of declared) {
      const all = users.of(path, name);
      if (all.some((user) => byPath.has(user))) continue;
      const isUsedHere = (text.match(new RegExp(`\\b${name}\\b(?!.*\\*/)`, "g"))?.length ?? 0) > 1;
      if (!isUsedHere || all.length === 0 && kind !== "interface" && kind !== "type") {
        wrong.push(`${path} ${name}`);
      }
    }
  }
  assert.deepEqual(wrong, [], "exports without a user");
});

Deno.test("tidy: doors hand out what somebody takes", () => {
  const users = new Users([...sources, ...others], PUBLIC_DOORS);
  const wrong: string[] = [];
  for (const { path, room, forwards, stars } of sources) {
    if (path !== `lib/${room}/mod.ts`) continue;
    const isTaken = (target: string, name: string) =>
      users.of(target, name).some((user) => roomOf(user) !== room || PUBLIC_DOORS.includes(user));
    for (const [as, target, name] of forwards) if (!isTaken(target, name)) wrong.push(`${path} ${as}`);
    for (const target of stars) {
      if (![...byPath.get(target)!.declared.keys()].some((name) => isTaken(target, name))) {
        wrong.push(`${path} ${target}`);
      }
    }
  }
  assert.deepEqual(wrong, [], "doors that nobody uses");
});

Deno.test("tidy: lines of at most 120 characters, and a door with a header in every room", () => {
  const wrong: string[] = [];
  for (const { path, text } of sources) {
    text.split("\n").forEach((line, index) => {
      if (line.length > 120 && !/https?:/.test(line)) {
        wrong.push(`${path}:${index + 1} ${line.length} characters`);
      }
    });
    if (!/^(#!.*\n)?\/\*\*/.test(text)) wrong.push(`${path} has no header comment`);
  }
  for (const room of new Set(sources.map(({ room }) => room))) {
    if (room !== "" && !byPath.has(`lib/${room}/mod.ts`)) wrong.push(`lib/${room} has no mod.ts`);
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: options that users give are refused where they are not known", () => {
  const doors = PUBLIC_DOORS.map((path) => byPath.get(path)!.code).join("\n");
  const names = [...doors.matchAll(/\btype (\w+Options|BeatEntry|CrontabFields)\b/g)].map(([, name]) =>
    name!
  );
  assert.ok(names.length > 15);
  const checked = sources.flatMap(({ text }) => text.match(/\bnamesOf<[^(]*>\(/g) ?? []).join("\n");
  // Routes are options of sending under Celery's names: camelOptions looks at them.
  const wrong = names.filter((name) => name !== "RouteOptions" && !new RegExp(`\\b${name}\\b`).test(checked));
  assert.deepEqual(wrong, [], "interfaces of options without namesOf and refuseUnknown");
});

Deno.test("tidy: every setting is read, and every signal sent, or its line says that it is not", () => {
  const tables = ["broker", "general", "result", "task", "worker"].map((name) => `lib/app/conf/${name}.ts`);
  const names = [...tables, "lib/app/conf/table.ts"];
  // With its texts, by which some are read, and without its comments.
  const code = sources.filter(({ path }) => !names.includes(path))
    .map(({ text }) => text.replace(/\/\*[^]*?\*\/|\/\/ .*/g, "")).join("\n");
  const explained = /\/\*\*((?:[^*]|\*(?!\/))*)\*\/\s*/.source;
  const wrong: string[] = [];
  for (const path of tables) {
    const [declared] = /export interface \w+Settings \{[^]*?\n\}/.exec(byPath.get(path)!.text)!;
    for (const [, doc, name] of declared.matchAll(new RegExp(`${explained}(\\w+): `, "g"))) {
      // daemon.ts reads those of worker, beat and events by the command's name.
      const inTemplate = name!.replace(/^(?:worker|beat|events)_(?=(?:uid|gid|umask)$)/, "${command}_");
      const isRead = new RegExp(`\\b${name}\\b`).test(code) ||
        inTemplate !== name && code.includes(inTemplate);
      if (isRead === doc!.includes("Kept for shared configuration")) wrong.push(`${path} ${name}`);
    }
  }
  const signals = byPath.get("lib/app/call/signals.ts")!.text;
  const all = [...signals.matchAll(/(\/\*\* Never sent[^\n]*\n)?\s+(\w+): new Signal</g)];
  assert.ok(all.length > 20);
  for (const [, never, name] of all) {
    if (new RegExp(`\\bsignals\\.${name}\\b`).test(code) === (never !== undefined)) {
      wrong.push(`signal ${name}`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: every export is explained", () => {
  const wrong: string[] = [];
  const declared =
    /^export (?:default )?(?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|let|enum) (\w+)/;
  for (const { path, text } of sources) {
    const lines = text.split("\n");
    lines.forEach((line, index) => {
      const name = declared.exec(line)?.[1];
      if (name === undefined) return;
      let above = index - 1;
      while (lines[above]?.startsWith("// deno-lint-ignore")) above--;
      // Later overloads of a function are explained by the first.
      const isOverload = new RegExp(`^export (?:async )?function ${name}\\b`).test(lines[above] ?? "") ||
        lines.slice(0, index).some((one) => new RegExp(`^export (?:async )?function ${name}\\b`).test(one));
      if (!/\*\/\s*$/.test(lines[above] ?? "") && !isOverload) wrong.push(`${path}:${index + 1} ${name}`);
    });
  }
  assert.deepEqual(wrong, []);
});

/** Where a file lies in its room: the floor, and the room inside the room or the file. */
function placeIn(room: string, path: string): { floor: number; name: string; isRoom: boolean } {
  const inside = path.slice(`lib/${room}/`.length);
  const isRoom = inside.includes("/");
  const name = isRoom ? inside.split("/")[0]! : inside;
  const floors = FLOORS[room]!;
  const named = floors.findIndex((places) => places.includes(name));
  const floor = named >= 0 ? named : floors.findIndex((places) => places.includes("*"));
  assert.ok(named >= 0 || !isRoom, `${name} is on no floor of ${room}`);
  return { floor, name, isRoom };
}
