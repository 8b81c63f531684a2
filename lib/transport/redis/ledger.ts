/**
 * The ledger on Redis: a lease is a hash that expires, a namespace a hash, and a change is one script with its
 * LPUSH, so that a record and its message are there both or neither.
 */

import type { World } from "../../base/mod.ts";
import { callScript, type RedisConnection, Script } from "../../redis/mod.ts";
import { encodeEnvelope, type Reply, type RespArg } from "../../wire/mod.ts";
import type { LeaseState, Ledger, LedgerEntry, LedgerScope } from "../ledger.ts";
import type { RedisKeys } from "./keys.ts";
import type { RedisPublisher } from "./publish.ts";
import type { OutgoingMessage } from "../message.ts";

/** Seconds that unused records are kept: more than a year, so that a yearly entry is remembered. */
const KEPT_SECONDS = 400 * 86_400;
/** Changes per script: the server runs nothing else meanwhile. */
const CHANGES_PER_SCRIPT = 100;

/**
 * KEYS: lease, counter. ARGV: owner, ms, token, seconds kept. Returns token (0: held by another owner) and ms
 * left.
 */
const LEASE = new Script(`
local held = redis.call('HMGET', KEYS[1], 'owner', 'token')
if held[1] then
  if held[2] == ARGV[3] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {tonumber(held[2]), tonumber(ARGV[2])}
  end
  if held[1] ~= ARGV[1] or ARGV[3] ~= '0' then return {0, redis.call('PTTL', KEYS[1])} end
end
local token = redis.call('INCR', KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', token)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {token, tonumber(ARGV[2])}
`);

/** KEYS: lease. ARGV: token. */
const RELEASE = new Script(`
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`);

/**
 * KEYS: lease, records, then the lists that messages go to. ARGV: token, ms, seconds kept; then per change:
 * key, "1" and the record expected or "0" and "", value, envelope or "", channel or "", how many lists.
 * Returns false if the lease has another token, else per change "" or the conflicting record.
 */
const COMMIT = new Script(`
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return false end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local out = {}
local list = 3
for at = 4, #ARGV, 7 do
  local there = redis.call('HGET', KEYS[2], ARGV[at])
  local lists = tonumber(ARGV[at + 6])
  if there and (ARGV[at + 1] == '0' or there ~= ARGV[at + 2]) then
    out[#out + 1] = there
  else
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 3])
    for n = list, list + lists - 1 do redis.call('LPUSH', KEYS[n], ARGV[at + 4]) end
    if ARGV[at + 5] ~= '' then redis.call('PUBLISH', ARGV[at + 5], ARGV[at + 4]) end
    out[#out + 1] = ''
  end
  list = list + lists
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
return out
`);

/** The ledger of one connection. */
export class RedisLedger implements Ledger {
  #world: World;
  #connection: RedisConnection;
  #keys: RedisKeys;
  #publisher: RedisPublisher;

  constructor(
    world: World,
    parts: { connection: RedisConnection; keys: RedisKeys; publisher: RedisPublisher },
  ) {
    this.#world = world;
    this.#connection = parts.connection;
    this.#keys = parts.keys;
    this.#publisher = parts.publisher;
  }

  async lease(name: string, owner: string, ms: number, token: number): Promise<LeaseState> {
    const reply = await callScript(this.#connection, LEASE, {
      keys: [this.#keys.lease(name), this.#keys.leaseCounter(name)],
      args: [owner, Math.max(1, Math.round(ms)), token, KEPT_SECONDS],
      doing: "take a lease",
    }) as Reply[];
    return { token: Number(reply[0]), leftMs: Math.max(0, Number(reply[1])) };
  }

  async holder(name: string): Promise<string | null> {
    const owner = await this.#connection.call(["HGET", this.#keys.lease(name), "owner"]);
    return typeof owner === "string" ? owner : null;
  }

  async release(name: string, token: number): Promise<void> {
    const what = { keys: [this.#keys.lease(name)], args: [token], doing: "give a lease up" };
    await callScript(this.#connection, RELEASE, what);
  }

  async records(namespace: string): Promise<Map<string, string>> {
    // RESP2 gives fields and values in turn; a map of RESP3 is flattened to that.
    const reply = await this.#connection.call(["HGETALL", this.#keys.records(namespace)]) as unknown;
    const pairs: unknown[] = reply instanceof Map ? [...reply].flat() : reply as unknown[];
    const records = new Map<string, string>();
    for (let n = 0; n + 1 < pairs.length; n += 2) records.set(String(pairs[n]), String(pairs[n + 1]));
    return records;
  }

  async forget(namespace: string, keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.#connection.call(["HDEL", this.#keys.records(namespace), ...keys]);
  }

  async commit(under: LedgerScope, entries: readonly LedgerEntry[]): Promise<(string | null)[] | null> {
    const found: (string | null)[] = [];
    // Without entries, the lease alone is checked and prolonged.
    for (let from = 0; from === 0 || from < entries.length; from += CHANGES_PER_SCRIPT) {
      const keys = [this.#keys.lease(under.lease), this.#keys.records(under.namespace)];
      const args: RespArg[] = [under.token, Math.max(1, Math.round(under.leaseMs)), KEPT_SECONDS];
      for (const { key, expected, value, message } of entries.slice(from, from + CHANGES_PER_SCRIPT)) {
        const target = message === null ? NO_TARGET : await this.#target(message);
        keys.push(...target.lists);
        args.push(key, expected === null ? "0" : "1", expected ?? "", value);
        args.push(target.envelope, target.channel, target.lists.length);
      }
      const reply = await callScript(this.#connection, COMMIT, { keys, args, doing: "publish what is due" });
      if (!Array.isArray(reply)) return null;
      for (const text of reply) found.push(text === "" ? null : String(text));
    }
    return found;
  }

  async #target(message: OutgoingMessage): Promise<Target> {
    const { exchange, routingKey } = message;
    const deliveryTag = this.#world.random.id();
    const envelope = encodeEnvelope(message.message, { exchange, routingKey, deliveryTag });
    if (exchange !== "" && this.#publisher.typeOf(exchange) === "fanout") {
      return { envelope, channel: this.#keys.channel(exchange, routingKey), lists: [] };
    }
    const queues = exchange === "" ? [routingKey] : await this.#publisher.route(exchange, routingKey);
    const { priority } = message.message.properties;
    return { envelope, channel: "", lists: queues.map((queue) => this.#keys.listFor(queue, priority)) };
  }
}

/** Where a message of a change goes. */
interface Target {
  readonly envelope: string;
  readonly channel: string;
  readonly lists: readonly string[];
}

const NO_TARGET: Target = { envelope: "", channel: "", lists: [] };
