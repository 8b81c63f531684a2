/**
 * The house rules, as a test: who may import whom, what may be said where, and that everything exported is explained.
 * The layers are data here; docs/architecture.md tells why.
 */

import assert from "node:assert/strict";

const ROOT = new URL("..", import.meta.url).pathname;

/** Rooms of lib/ by layer; a room imports only rooms of lower layers. */
const LAYERS: readonly (readonly string[])[] = [
  ["base"],
  ["blueprint", "wire"],
  ["net"],
  ["platform", "redis", "amqp"],
  ["transport", "backend", "canvas"],
  ["app"],
  ["pool", "mailbox", "event"],
  ["worker", "beat", "multi", "status"],
  ["cli"],
];

/** Arrows within a layer, or that the layers do not give. */
const ARROWS: readonly (readonly [string, string])[] = [
  ["worker", "beat"], // -B, the embedded beat
  ["cli", "worker"],
];

/** The one door of users; it may import any room. */
const PUBLIC_DOOR = "lib/mod.ts";

/** Files on the path of a task message: synchronous, batched, no promise per message. */
const DATA_LANE: readonly string[] = [
  "lib/base/outbox.ts",
  "lib/base/ring.ts",
  "lib/wire/resp_decoder.ts",
  "lib/wire/resp_encoder.ts",
  "lib/wire/envelope.ts",
  ...[
    "body_shape",
    "lane",
    "lane_state",
    "rate_limit",
    "refusals",
    "request",
    "request_states",
  ]
    .map((name) => `lib/worker/${name}.ts`),
  ...["revoked", "settle", "strategy", "waiting_room", "window"].map((name) => `lib/worker/${name}.ts`),
];

/** What the data lane does without. */
const LANE_BANS = /\b(async|await|Promise|AbortController|setTimeout)\b/;

/** Where `Deno.` may stand: the rooms that touch the operating system. */
const DENO_ROOMS = new Set(["platform", "net", "cli"]);
/** Where processes begin and end. */
const PROGRAMS = new Set(["main.ts", "lib/pool/child_main.ts"]);
/** Types of `Deno` that are no call. */
const DENO_TYPES = /\bDeno\.(Signal|PermissionOptionsObject|FsWatcher|Kv|KvEntry)\b/g;

interface Source {
  path: string;
  room: string;
  text: string;
  /** The text without comments and string contents: code alone. */
  code: string;
  imports: { target: string; isType: boolean }[];
}

const sources = [...walk("lib"), "main.ts"].filter((path) => path.endsWith(".ts")).map(read);
const byPath = new Map(sources.map((source) => [source.path, source]));

Deno.test("tidy: rooms import only lower rooms, through their door", () => {
  const wrong: string[] = [];
  const layerOf = new Map(LAYERS.flatMap((rooms, layer) => rooms.map((room) => [room, layer] as const)));
  for (const { path, room, imports } of sources) {
    for (const { target } of imports) {
      const to = roomOf(target);
      if (path === PUBLIC_DOOR || path === "main.ts" || to === room || to === "") continue;
      if (!target.endsWith("/mod.ts")) wrong.push(`${path} imports ${target}, not ${to}/mod.ts`);
      const isAllowed = (layerOf.get(to) ?? 99) < (layerOf.get(room) ?? -1) ||
        ARROWS.some(([from, into]) => from === room && into === to);
      if (!isAllowed) wrong.push(`${path} (${room}) may not import ${to}`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: no import cycle", () => {
  const state = new Map<string, "open" | "done">();
  const cycles: string[] = [];
  const visit = (path: string, trail: string[]) => {
    if (state.get(path) === "done") return;
    if (state.get(path) === "open") {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
      return;
    }
    state.set(path, "open");
    for (const { target, isType } of byPath.get(path)?.imports ?? []) {
      if (!isType) visit(target, [...trail, path]);
    }
    state.set(path, "done");
  };
  for (const { path } of sources) visit(path, []);
  assert.deepEqual(cycles, []);
});

Deno.test("tidy: no dead file", () => {
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const { target } of byPath.get(path)?.imports ?? []) visit(target);
  };
  for (const entry of ["main.ts", PUBLIC_DOOR, "lib/pool/child_main.ts", "lib/pool/child_thread.ts"]) {
    visit(entry);
  }
  assert.deepEqual(sources.map(({ path }) => path).filter((path) => !reached.has(path)), []);
});

Deno.test("tidy: words that do not belong", () => {
  const wrong: string[] = [];
  const bans: [RegExp, (source: Source) => boolean][] = [
    [/\b(setTimeout|setInterval|Date\.now|performance\.now)\b/, ({ room }) => room !== "platform"],
    [/\bMath\.random\b/, () => true],
    [/\bconsole\./, ({ room }) => room !== "platform"],
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
    for (const word of ["TODO", "FIXME", "@ts-ignore", "@ts-nocheck"]) {
      if (source.text.includes(word)) wrong.push(`${source.path} ${word}`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("tidy: the data lane makes no promise", () => {
  const wrong: string[] = [];
  for (const path of DATA_LANE) {
    const source = byPath.get(path);
    assert(source, `the data lane lists ${path}, which is not there`);
    source.code.split("\n").forEach((line, index) => {
      const found = LANE_BANS.exec(line);
      if (found) wrong.push(`${path}:${index + 1} ${found[0]}`);
    });
  }
  assert.deepEqual(wrong, []);
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

function walk(folder: string): string[] {
  return [...Deno.readDirSync(`${ROOT}${folder}`)].flatMap(({ name, isDirectory }) =>
    isDirectory ? walk(`${folder}/${name}`) : [`${folder}/${name}`]
  ).sort();
}

function read(path: string): Source {
  const text = Deno.readTextFileSync(`${ROOT}${path}`);
  const imports: Source["imports"] = [];
  const statement =
    /(?:^|\n)\s*(import|export)\s+(type\s+)?([^;"']*?from\s*)?["'](\.[^"']+)["']|import\(\s*["'](\.[^"']+)["']\s*\)|new URL\(\s*["'](\.[^"']+\.ts)["']/g;
  for (const found of text.matchAll(statement)) {
    const specifier = found[4] ?? found[5] ?? found[6]!;
    if (!specifier.endsWith(".ts")) continue;
    const target = new URL(specifier, `file:///${path}`).pathname.slice(1);
    // A dynamic import and an entry of its own are reached, but are no cycle at load time.
    imports.push({ target, isType: found[2] !== undefined || found[4] === undefined });
  }
  return { path, room: roomOf(path), text, code: codeOf(text), imports };
}

function roomOf(path: string): string {
  const parts = path.split("/");
  return parts[0] === "lib" && parts.length > 2 ? parts[1]! : "";
}

/** Blanks comments and the contents of strings, keeping the lines. */
function codeOf(text: string): string {
  const blank = (part: string) => part.replace(/[^\n]/g, " ");
  return text.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`/g,
    blank,
  );
}
