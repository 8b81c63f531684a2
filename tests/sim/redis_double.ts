/**
 * A Redis double of plain maps: the commands and scripts that the Redis transport uses, each atomic, on the
 * test's clock. It throws for a command that it does not know, so that it cannot silently fall behind. The
 * transport's conformance suite runs on it as on a real server.
 */

import { createHash } from "node:crypto";
import { type Reply, RespDecoder } from "../../lib/wire/mod.ts";
import type { Script } from "../../lib/redis/mod.ts";
import {
  DEAD_LETTER,
  DROP_PARKED,
  GIVE_BACK,
  NO_LEASE,
  PARK,
  POP,
  PURGE,
  RENEW,
  REVIVE,
  TAKE_OVER,
  UNLOCK,
  UNPARK,
} from "../../lib/transport/redis/scripts.ts";
import { RESEND } from "../../lib/transport/redis/failed.ts";

/** The clock that the double uses. */
export interface DoubleClock {
  wallMs(): number;
}

type Value = string | string[] | Map<string, string> | Set<string> | Map<string, number>;
type Answer = string | number | null | Answer[] | { error: string } | { map: [string, Answer][] };

interface Entry {
  kind: "string" | "list" | "hash" | "set" | "zset";
  value: Value;
  expiresMs: number;
}

/** One client's connection as the server sees it. Bytes come in by `feed` and leave by `onBytes`. */
export class DoubleClient {
  isTracking = false;
  /** Commands since MULTI; null outside a transaction. */
  queued: string[][] | null = null;
  readonly patterns = new Set<string>();
  #decoder: RespDecoder;
  #out = "";
  #onBytes: (bytes: Uint8Array) => void;

  constructor(server: RedisDouble, onBytes: (bytes: Uint8Array) => void) {
    this.#onBytes = onBytes;
    this.#decoder = new RespDecoder({
      onReply: (value) => {
        const answer = server.execute(this, (value as Reply[]).map(String));
        if (answer !== undefined) this.#out += encoded(answer);
      },
      onPush: () => {},
    });
  }

  /** Runs the commands that the bytes complete; the replies leave together. */
  feed(bytes: Uint8Array): void {
    this.#decoder.feed(bytes);
    this.flush();
  }

  push(items: Answer[]): void {
    this.#out += `>${items.length}\r\n${items.map(encoded).join("")}`;
  }

  flush(): void {
    if (this.#out === "") return;
    const bytes = new TextEncoder().encode(this.#out);
    this.#out = "";
    this.#onBytes(bytes);
  }
}

/** The server. */
export class RedisDouble {
  readonly clients = new Set<DoubleClient>();
  #clock: DoubleClock;
  #entries = new Map<string, Entry>();
  #tracked = new Map<string, Set<DoubleClient>>();
  #seen = new Set<Script>();
  #startedMs: number;

  constructor(clock: DoubleClock) {
    this.#clock = clock;
    this.#startedMs = clock.wallMs();
  }

  /** Restarts the process with the same data: scripts and clients are forgotten. */
  restarted(): void {
    this.#seen.clear();
    this.#tracked.clear();
    this.clients.clear();
    this.#startedMs = this.#clock.wallMs();
  }

  /** Runs one command for a test. */
  run(...args: (string | number)[]): Answer {
    const answer = this.execute(NOBODY, args.map(String));
    for (const client of this.clients) client.flush();
    return answer ?? null;
  }

  execute(client: DoubleClient, args: string[]): Answer | undefined {
    const [name, ...rest] = args as [string, ...string[]];
    if (client.queued !== null && name !== "EXEC") {
      client.queued.push(args);
      return "QUEUED";
    }
    switch (name.toUpperCase()) {
      case "MULTI":
        client.queued = [];
        return "OK";
      case "EXEC": {
        const queued = client.queued!;
        client.queued = null;
        return queued.map((one) => this.execute(client, one) ?? null);
      }
      case "HELLO":
        return { map: [["server", "redis"], ["version", "7.0.0"], ["proto", 3]] };
      case "ROLE":
        return ["master", "0", []];
      case "SELECT":
      case "CLIENT":
        if (rest[0]?.toUpperCase() === "TRACKING") client.isTracking = true;
        return "OK";
      case "PING":
        return "PONG";
      case "INFO":
        return `uptime_in_seconds:${
          Math.floor(this.#clock.wallMs() / 1000) - Math.floor(this.#startedMs / 1000)
        }\r\n`;
      case "TIME":
        return this.#time();
      case "PUBLISH":
        return this.#publish(rest[0]!, rest[1]!);
      case "PSUBSCRIBE":
        client.patterns.add(rest[0]!);
        return void client.push(["psubscribe", rest[0]!, client.patterns.size]);
      case "PUNSUBSCRIBE":
        client.patterns.delete(rest[0]!);
        return void client.push(["punsubscribe", rest[0]!, client.patterns.size]);
      case "SCRIPT":
        return shaOf(rest[1]!);
      case "EVAL":
      case "EVALSHA":
        return this.#script(client, name.toUpperCase() === "EVAL", rest);
    }
    return this.#data(client, name.toUpperCase(), rest);
  }

  #data(client: DoubleClient, name: string, a: string[]): Answer {
    const key = a[0]!;
    switch (name) {
      case "DEL":
        return a.filter((one) => this.#delete(client, one)).length;
      case "EXISTS":
        this.#track(client, key);
        return this.#entry(key) ? 1 : 0;
      case "SET": {
        const upper = a.map((one) => one.toUpperCase());
        if (upper.includes("NX") && this.#entry(key)) return null;
        const px = upper.indexOf("PX");
        const expiresMs = px < 0 ? Infinity : this.#clock.wallMs() + Number(a[px + 1]);
        this.#entries.set(key, { kind: "string", value: a[1]!, expiresMs });
        this.#changed(client, key);
        return "OK";
      }
      case "GET":
        return this.#entry(key)?.value as string ?? null;
      case "PTTL": {
        const entry = this.#entry(key);
        return !entry
          ? -2
          : entry.expiresMs === Infinity
          ? -1
          : Math.ceil(entry.expiresMs - this.#clock.wallMs());
      }
      case "LLEN":
        this.#track(client, key);
        return this.#list(key).length;
      case "LINDEX":
        return this.#list(key).at(Number(a[1])) ?? null;
      case "LPUSH":
      case "RPUSH": {
        const list = this.#list(key, true);
        for (const one of a.slice(1)) name === "LPUSH" ? list.unshift(one) : list.push(one);
        this.#changed(client, key);
        return list.length;
      }
      case "RPOP": {
        const list = this.#list(key);
        const count = a[1] === undefined ? 1 : Number(a[1]);
        const got: string[] = [];
        while (got.length < count && list.length > 0) got.push(list.pop()!);
        if (got.length > 0) this.#changed(client, key);
        return a[1] === undefined ? got[0] ?? null : got.length > 0 ? got : null;
      }
      case "LRANGE": {
        const list = this.#list(key);
        return list.slice(Number(a[1]), Number(a[2]) === -1 ? list.length : Number(a[2]) + 1);
      }
      case "LREM": {
        const list = this.#list(key);
        const at = list.indexOf(a[2]!);
        if (at >= 0) list.splice(at, 1);
        return at >= 0 ? 1 : 0;
      }
      case "LTRIM": {
        const list = this.#list(key);
        list.splice(Number(a[2]) + 1);
        return "OK";
      }
      case "HSET":
        for (let i = 1; i < a.length; i += 2) this.#hash(key, true).set(a[i]!, a[i + 1]!);
        return (a.length - 1) / 2;
      case "HGET":
        return this.#hash(key).get(a[1]!) ?? null;
      case "HMGET":
        return a.slice(1).map((field) => this.#hash(key).get(field) ?? null);
      case "HDEL":
        return a.slice(1).filter((field) => this.#hash(key).delete(field)).length;
      case "HLEN":
        return this.#hash(key).size;
      case "SADD":
        for (const one of a.slice(1)) this.#set(key, true).add(one);
        return a.length - 1;
      case "SREM":
        return a.slice(1).filter((one) => this.#set(key).delete(one)).length;
      case "SMEMBERS":
        return [...this.#set(key)];
      case "EXPIRE": {
        const entry = this.#entry(key);
        if (entry) entry.expiresMs = this.#clock.wallMs() + Number(a[1]) * 1000;
        return entry ? 1 : 0;
      }
      case "ZADD": {
        const isOld = a[1] === "XX";
        const zset = this.#zset(key, true);
        for (let i = isOld ? 2 : 1; i < a.length; i += 2) {
          if (!isOld || zset.has(a[i + 1]!)) zset.set(a[i + 1]!, Number(a[i]));
        }
        return 0;
      }
      case "ZREM":
        return a.slice(1).filter((one) => this.#zset(key).delete(one)).length;
      case "ZCARD":
        return this.#zset(key).size;
      case "ZRANGE": {
        const end = Number(a[2]) < 0 ? undefined : Number(a[2]) + 1;
        return rows(this.#sorted(key).slice(Number(a[1]), end), a.includes("WITHSCORES"));
      }
      case "ZREVRANGE":
        return rows(this.#sorted(key).reverse().slice(Number(a[1]), Number(a[2]) + 1), false);
      case "ZREMRANGEBYSCORE": {
        const below = Number(a[2]!.slice(1));
        const old = this.#sorted(key).filter(([, score]) => score < below);
        return old.filter(([member]) => this.#zset(key).delete(member)).length;
      }
      case "ZREMRANGEBYRANK": {
        const last = this.#zset(key).size + Number(a[2]) + 1;
        const old = this.#sorted(key).slice(0, Math.max(0, last));
        return old.filter(([member]) => this.#zset(key).delete(member)).length;
      }
      case "ZRANGEBYSCORE": {
        const min = a[1] === "-inf" ? -Infinity : Number(a[1]);
        const all = this.#sorted(key).filter(([, score]) => score >= min && score <= Number(a[2]));
        const limit = a.indexOf("LIMIT");
        const from = limit < 0 ? 0 : Number(a[limit + 1]);
        return rows(
          all.slice(from, limit < 0 ? undefined : from + Number(a[limit + 2])),
          a.includes("WITHSCORES"),
        );
      }
      case "BRPOP":
        // Never waits: the real server may answer at once too.
        for (const list of a.slice(0, -1)) {
          const got = this.#data(client, "RPOP", [list]);
          if (got !== null) return [list, got];
        }
        return null;
      case "SCAN": {
        const kind = a[5] === "TYPE" ? a[6] : null;
        const found = [...this.#entries].filter(([one, entry]) =>
          matches(a[2]!, one) && (kind === null || entry.kind === kind)
        );
        return ["0", found.map(([one]) => one)];
      }
    }
    throw new Error(`The Redis double does not know ${name} ${a.join(" ").slice(0, 80)}`);
  }

  #script(client: DoubleClient, isWhole: boolean, [text, count, ...rest]: string[]): Answer {
    const script = isWhole ? BY_TEXT.get(text!) : BY_SHA.get(text!);
    if (script === undefined) {
      throw new Error(`The Redis double does not know the script ${text!.slice(0, 200)}`);
    }
    if (isWhole) this.#seen.add(script);
    else if (!this.#seen.has(script)) return { error: "NOSCRIPT No matching script" };
    const keys = rest.slice(0, Number(count));
    const argv = rest.slice(Number(count));
    const call = (name: string, ...args: (string | number)[]) => this.#data(client, name, args.map(String));
    return RUN.get(script)!(call, keys, argv, () => (this.#clock.wallMs() / 1000).toFixed(6));
  }

  #time(): Answer {
    const ms = this.#clock.wallMs();
    return [String(Math.floor(ms / 1000)), String(Math.floor(ms % 1000 * 1000))];
  }

  #publish(channel: string, payload: string): number {
    let reached = 0;
    for (const client of this.clients) {
      for (const pattern of client.patterns) {
        if (!matches(pattern, channel)) continue;
        client.push(["pmessage", pattern, channel, payload]);
        client.flush();
        reached++;
      }
    }
    return reached;
  }

  #entry(key: string): Entry | null {
    const entry = this.#entries.get(key);
    if (!entry) return null;
    if (entry.expiresMs > this.#clock.wallMs()) return entry;
    this.#entries.delete(key);
    return null;
  }

  #of<T extends Value>(key: string, kind: Entry["kind"], empty: T, isMade: boolean): T {
    const entry = this.#entry(key);
    if (entry !== null) {
      if (entry.kind !== kind) throw new Error(`WRONGTYPE ${key}`);
      return entry.value as T;
    }
    if (isMade) this.#entries.set(key, { kind, value: empty, expiresMs: Infinity });
    return empty;
  }

  #list(key: string, isMade = false): string[] {
    return this.#of<string[]>(key, "list", [], isMade);
  }

  #hash(key: string, isMade = false): Map<string, string> {
    return this.#of(key, "hash", new Map<string, string>(), isMade);
  }

  #set(key: string, isMade = false): Set<string> {
    return this.#of(key, "set", new Set<string>(), isMade);
  }

  #zset(key: string, isMade = false): Map<string, number> {
    return this.#of(key, "zset", new Map<string, number>(), isMade);
  }

  #sorted(key: string): [string, number][] {
    return [...this.#zset(key)].sort((x, y) => x[1] - y[1] || (x[0] < y[0] ? -1 : 1));
  }

  #delete(client: DoubleClient, key: string): boolean {
    const isThere = this.#entry(key) !== null;
    this.#entries.delete(key);
    if (isThere) this.#changed(client, key);
    return isThere;
  }

  #track(client: DoubleClient, key: string): void {
    if (!client.isTracking) return;
    const clients = this.#tracked.get(key);
    if (clients) clients.add(client);
    else this.#tracked.set(key, new Set([client]));
  }

  /** Announces a changed key once, to all clients that have read it except the one that changed it. */
  #changed(by: DoubleClient, key: string): void {
    const clients = this.#tracked.get(key);
    if (!clients) return;
    this.#tracked.delete(key);
    for (const client of clients) {
      if (client === by || !this.clients.has(client)) continue;
      client.push(["invalidate", [key]]);
      client.flush();
    }
  }
}

type Call = (name: string, ...args: (string | number)[]) => Answer;

/** The scripts in TypeScript. The conformance suite compares each with its Lua. */
const RUN = new Map<Script, (call: Call, keys: string[], argv: string[], now: () => string) => Answer>([
  [POP, (call, keys, argv, now) => {
    let left = Number(argv[0]);
    let number = Number(argv[2]);
    const out: Answer[] = [0, ""];
    const records = argv[3] === "1";
    if (records && call("EXISTS", keys[2]!) === 0) return [0, NO_LEASE];
    for (let i = 3; i < keys.length; i++) {
      if (left < 1) return out;
      const got = call("RPOP", keys[i]!, left) as string[] | null;
      if (!got) continue;
      if (records) {
        got.forEach((text, n) => {
          call("HSET", keys[0]!, `${argv[1]}${number + n}`, `[${text}${argv[i + 1]}`);
          call("ZADD", keys[1]!, now(), `${argv[1]}${number + n}`);
        });
        number += got.length;
      }
      left -= got.length;
      out.push(i - 3, got);
    }
    if (left < 1) return out;
    for (const key of keys.slice(3)) call("LLEN", key);
    out[0] = 1;
    return out;
  }],
  [GIVE_BACK, (call, keys, argv) => {
    let given = 0;
    for (let i = 1; i < argv.length; i += 2) {
      call("ZREM", keys[1]!, argv[i]!);
      if (call("HDEL", keys[0]!, argv[i]!) !== 1) continue;
      call(argv[0]!, keys[2]!, argv[i + 1]!);
      given++;
    }
    return given;
  }],
  [DEAD_LETTER, (call, keys, argv) => {
    call("ZREM", keys[1]!, argv[0]!);
    if (call("HDEL", keys[0]!, argv[0]!) !== 1) return 0;
    call("LPUSH", keys[2]!, argv[1]!);
    return 1;
  }],
  [REVIVE, (call, keys, argv) => {
    if (call("LREM", keys[0]!, 1, argv[0]!) === 0) return 0;
    call("LPUSH", keys[1]!, argv[1]!);
    return 1;
  }],
  [RESEND, (call, keys, argv) => {
    if (call("ZREM", keys[0]!, argv[0]!) === 0) return 0;
    call("LPUSH", keys[1]!, argv[1]!);
    return 1;
  }],
  [PARK, (call, keys, argv) => {
    const value = call("HGET", keys[0]!, argv[0]!) as string | null;
    if (value === null) return 0;
    call("HDEL", keys[0]!, argv[0]!);
    call("ZREM", keys[1]!, argv[0]!);
    call("HSET", keys[0]!, argv[1]!, value);
    call("ZADD", keys[1]!, argv[3]!, argv[1]!);
    call("ZADD", keys[2]!, argv[2]!, argv[1]!);
    return 1;
  }],
  [DROP_PARKED, (call, keys, argv) => {
    let dropped = 0;
    for (const tag of argv) {
      if (call("ZREM", keys[2]!, tag) !== 1) continue;
      call("HDEL", keys[0]!, tag);
      call("ZREM", keys[1]!, tag);
      dropped++;
    }
    return dropped;
  }],
  [UNPARK, (call, keys, argv) => {
    let moved = 0;
    for (let i = 0; i < argv.length; i += 2) {
      call("ZREM", keys[1]!, argv[i]!);
      call("ZREM", keys[2]!, argv[i]!);
      if (call("HDEL", keys[0]!, argv[i]!) !== 1) continue;
      call("RPUSH", keys[3]!, argv[i + 1]!);
      moved++;
    }
    return moved;
  }],
  [RENEW, (call, keys, argv, now) => {
    const alive = call("EXISTS", keys[1]!);
    call("SET", keys[1]!, argv[1]!, "PX", argv[2]!);
    call("SADD", keys[2]!, argv[0]!);
    for (const number of argv.slice(4)) call("ZADD", keys[0]!, "XX", now(), argv[3]! + number);
    return alive;
  }],
  [TAKE_OVER, (call, keys, argv, now) => {
    return argv.slice(3).map((number, i) => {
      const value = call("HGET", keys[0]!, argv[0]! + number) as string | null;
      if (value === null) return null;
      const tag = `${argv[1]}${Number(argv[2]) + i}`;
      call("HDEL", keys[0]!, argv[0]! + number);
      call("ZREM", keys[1]!, argv[0]! + number);
      call("HSET", keys[0]!, tag, value);
      call("ZADD", keys[1]!, now(), tag);
      return value;
    });
  }],
  [PURGE, (call, keys) => {
    let count = 0;
    for (const key of keys) {
      count += call("LLEN", key) as number;
      call("DEL", key);
    }
    return count;
  }],
  [UNLOCK, (call, keys, argv) => call("GET", keys[0]!) === argv[0] ? call("DEL", keys[0]!) : 0],
]);

const BY_TEXT = new Map([...RUN.keys()].map((script) => [script.text, script]));
const BY_SHA = new Map([...RUN.keys()].map((script) => [shaOf(script.text), script]));

/** Returns the digest that names a script. */
function shaOf(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

const NOBODY = { isTracking: false, queued: null, patterns: new Set<string>() } as unknown as DoubleClient;

function rows(all: [string, number][], withScores: boolean): Answer {
  return all.map(([member, score]) => withScores ? [member, String(score)] : member);
}

function encoded(answer: Answer): string {
  if (answer === null) return "_\r\n";
  if (typeof answer === "number") return `:${answer}\r\n`;
  if (typeof answer === "string") return `$${new TextEncoder().encode(answer).length}\r\n${answer}\r\n`;
  if (Array.isArray(answer)) return `*${answer.length}\r\n${answer.map(encoded).join("")}`;
  if ("error" in answer) return `-${answer.error}\r\n`;
  return `%${answer.map.length}\r\n${
    answer.map.map(([key, value]) => encoded(key) + encoded(value)).join("")
  }`;
}

/** Matches Redis's globs, as far as the transport uses them. */
function matches(pattern: string, text: string): boolean {
  const source = pattern.replaceAll(/[.+^${}()|]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".");
  return new RegExp(`^${source}$`, "s").test(text);
}
