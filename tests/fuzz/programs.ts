/**
 * The program as a whole: odd command lines, and brokers that answer with odd bytes. Each run ends by itself with a
 * status that the documentation names, and what it says is for people: no stack, no words of the runtime.
 */

import assert from "node:assert/strict";
import { LOVAGE } from "../support/programs.ts";
import { Chance, oddBytes } from "./chance.ts";
import { disposableFolder } from "../support/temporary.ts";

/** What the documentation names. 124: a worker or beat that works, ended by us. */
const STATUSES = new Set([0, 1, 64, 65, 66, 69, 73, 74, 78, 124]);
/** Words of a stack, of the runtime, or of a value that nobody wrote for people. */
const INTERNAL = /^\s+at .*:\d+:\d+|Uncaught|TypeError|RangeError|\[object Object\]|undefined|NaN|--allow-/m;
/** A command line of this program, which `multi show` prints. */
const OWN_COMMAND = /^\S+\/deno run .*$/gm;
/** A program that goes on working is ended after so long. */
const RUN_MS = 3000;
/** One that has not ended so long after is at fault. */
const END_MS = 60_000;

interface Ran {
  readonly code: number;
  readonly text: string;
}

/** Runs `count` odd command lines from a seed; resolves with how many. */
export async function fuzzCommandLines(seed: number, count: number): Promise<number> {
  await using folder = await disposableFolder();
  await Deno.writeTextFile(`${folder.path}/t.ts`, MODULE);
  for (let n = 0; n < count; n++) {
    const argv = oddCommandLine(new Chance(seed + n));
    const { code, text } = await run(argv, folder.path, {});
    const shown = `seed ${seed + n}: lovage ${
      argv.map((word) => JSON.stringify(word)).join(" ")
    }\nstatus ${code}\n${text}`;
    assert.ok(STATUSES.has(code), shown);
    // What was typed may be repeated, whatever it is.
    if (argv.some((word) => INTERNAL.test(word))) continue;
    assert.doesNotMatch(text.replaceAll(OWN_COMMAND, ""), INTERNAL, shown);
  }
  return count;
}

/** Has `count` commands talk to a broker that answers oddly; resolves with how many. */
export async function fuzzPeers(seed: number, count: number): Promise<number> {
  await using folder = await disposableFolder();
  await Deno.writeTextFile(`${folder.path}/t.ts`, MODULE);
  for (let n = 0; n < count; n++) {
    const chance = new Chance(seed + n);
    const scheme = chance.of(["redis", "amqp"] as const);
    await using peer = oddPeer(chance, scheme);
    const command = chance.of([
      ["status", "--timeout", "1"],
      ["call", "t.add", "-a", "[1, 2]"],
      ["inspect", "ping", "--timeout", "1"],
      ["purge", "-f"],
      ["-A", "t.ts", "worker", "-P", "solo"],
    ]);
    const argv = ["-b", `${scheme}://127.0.0.1:${peer.port}/`, ...command];
    const { code, text } = await run(argv, folder.path, {});
    const shown = `seed ${seed + n}: lovage ${argv.join(" ")}\nstatus ${code}\n${text}`;
    assert.ok(STATUSES.has(code), shown);
    assert.doesNotMatch(text, INTERNAL, shown);
  }
  return count;
}

const MODULE = `import { App } from "lovage";
export const app = new App("t");
app.task("t.add", (x: number, y: number) => x + y);
`;

const WORDS = [
  ...[
    "",
    " ",
    "-",
    "--",
    "0",
    "-1",
    "1e9",
    "100000000",
    "99999999999999999999",
    "NaN",
    "Infinity",
    "1.5",
    "0x10",
    "๓",
  ],
  ...["[1, 2]", "[", "{}", '{"a": 1}', "null", "[18446744073709551616]", '"x"', "true"],
  ...["tomorrow", "2026-11-30T10:00:00", "9999-12-31T23:59:59Z", "+275761-01-01T00:00:00Z", "-5"],
  ...[
    "t.ts",
    "t",
    "t.ts:app",
    "t.ts:none",
    "/dev/null",
    "/",
    ".",
    "no/such/file",
    "é %41#?.ts",
    "t.add",
    "no.such",
    "\u001b[31m",
  ],
  ...[
    "memory://",
    "redis://",
    "redis://127.0.0.1:1/0",
    "amqp://127.0.0.1:1//",
    "tcp://x",
    "redis://:p%zz@127.0.0.1:1/0",
    "sqlite:///",
  ],
  ...[
    "INFO",
    "debug",
    "LOUD",
    "solo",
    "threads",
    "json",
    "task_acks_late=true",
    "task_acks_late=perhaps",
    "broker_url=",
    "=",
    "x=1",
  ],
  ...["a,b", ",", "celery", "*", "w1@%h", "%", "@"],
];
/** Commands that end by themselves or can be ended, and do nothing outside their folder. */
const COMMANDS = [
  ...[
    "worker",
    "beat",
    "call",
    "result",
    "status",
    "inspect",
    "control",
    "purge",
    "list",
    "report",
    "graph",
    "dead",
  ],
  ...[
    "logtool",
    "events",
    "help",
    "version",
    "beat next",
    "beat list",
    "multi show",
    "multi names",
    "multi expand",
  ],
];
const OPTIONS = [
  ...["-A", "-b", "--result-backend", "--config", "-C", "-q", "--version", "--help", "-j", "--json", "-h"],
  ...[
    "-c",
    "-P",
    "-l",
    "-n",
    "-Q",
    "-X",
    "-I",
    "-E",
    "--burst",
    "--autoscale",
    "--prefetch-multiplier",
    "-O",
  ],
  ...[
    "--time-limit",
    "--soft-time-limit",
    "--max-tasks-per-child",
    "--max-memory-per-child",
    "--heartbeat-interval",
  ],
  ...[
    "-a",
    "-k",
    "--eta",
    "--countdown",
    "--expires",
    "--serializer",
    "--queue",
    "--priority",
    "--task-id",
    "--timeout",
  ],
  ...[
    "-d",
    "--destination",
    "--min",
    "--wait",
    "-f",
    "--max-interval",
    "--no-such-option",
    "-z",
    "-S",
    "-s",
    "-t",
  ],
];

function oddCommandLine(chance: Chance): string[] {
  const words = chance.of(COMMANDS).split(" ");
  const argv = chance.oneIn(20) ? [] : words;
  if (chance.oneIn(2)) argv.push("-A", "t.ts");
  for (let n = chance.below(5); n > 0; n--) {
    if (!chance.oneIn(3)) argv.push(chance.of(OPTIONS));
    if (!chance.oneIn(3)) argv.push(chance.of(WORDS));
  }
  // No network, no user's own state: brokers are in memory unless the words name one of a port that refuses.
  return chance.oneIn(2) ? ["-b", "memory://", ...argv] : argv;
}

async function run(argv: readonly string[], cwd: string, env: Record<string, string>): Promise<Ran> {
  const child = new Deno.Command(LOVAGE[0]!, {
    args: [...LOVAGE.slice(1), ...argv],
    cwd,
    env: {
      LOVAGE_HOME: `${cwd}/state`,
      HOME: cwd,
      DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
      ...env,
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let wasEnded = false;
  const term = setTimeout(() => {
    wasEnded = true;
    child.kill("SIGTERM");
  }, RUN_MS);
  let isDeaf = false;
  const kill = setTimeout(() => {
    isDeaf = true;
    child.kill("SIGKILL");
  }, END_MS);
  const { code, signal, stdout, stderr } = await child.output();
  clearTimeout(term);
  clearTimeout(kill);
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout) + decoder.decode(stderr);
  assert.ok(!isDeaf, `lovage ${argv.join(" ")} does not end on SIGTERM:\n${text}`);
  const isOurs = wasEnded && (code === 0 || signal === "SIGTERM" || code === 143);
  return { code: isOurs ? 124 : code, text };
}

/** A server that begins well and then sends odd bytes, or nothing, or hangs up. */
function oddPeer(chance: Chance, scheme: "redis" | "amqp"): AsyncDisposable & { port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const good = scheme === "redis" ? REDIS_ANSWERS : AMQP_ANSWERS;
  const goodFor = chance.below(4);
  const open = new Set<Deno.Conn>();
  const ends: Promise<void>[] = [];
  const serve = async (connection: Deno.Conn): Promise<void> => {
    const buffer = new Uint8Array(65_536);
    for (let n = 0; n < 40; n++) {
      if (await connection.read(buffer) === null) break;
      const answer = chance.of(good);
      const bytes = n < goodFor
        ? good[Math.min(n, good.length - 1)]!
        : oddBytes(chance, chance.oneIn(4) ? GARBAGE : answer);
      await connection.write(bytes);
      if (chance.oneIn(10)) break;
    }
  };
  const close = (connection: Deno.Conn): void => {
    if (open.delete(connection)) connection.close();
  };
  const accepting = (async () => {
    for await (const connection of listener) {
      open.add(connection);
      ends.push(serve(connection).catch(() => {}).finally(() => close(connection)));
    }
  })().catch(() => {});
  return {
    port: (listener.addr as Deno.NetAddr).port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      for (const connection of open) close(connection);
      await Promise.all(ends);
    },
  };
}

const bytes = (text: string) => new TextEncoder().encode(text);
const GARBAGE = bytes("HTTP/1.1 400 Bad Request\r\nContent-Length: 11\r\n\r\nBad Request");
const REDIS_ANSWERS = [
  bytes("%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n"),
  bytes("+OK\r\n"),
  bytes(":1\r\n"),
  bytes("*2\r\n$1\r\n0\r\n*0\r\n"),
  bytes("-NOSCRIPT No matching script.\r\n"),
  bytes("$-1\r\n_\r\n"),
];
const AMQP_ANSWERS = [
  Uint8Array.fromHex("0100000000001c000a000a00090000000000000005504c41494e00000005656e5f5553ce"),
  Uint8Array.fromHex("0100000000000c000a001e07ff00020000003cce"),
  Uint8Array.fromHex("01000000000005000a002900ce"),
  Uint8Array.fromHex("010001000000080014000b00000000ce"),
  bytes("AMQP\x00\x00\x09\x01"),
];
