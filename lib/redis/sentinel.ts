/**
 * Finds the master through Redis Sentinels.
 *
 * Source: Redis "Sentinel client spec"; redis-py 4.3.4 sentinel.py Sentinel.discover_master.
 */

import { type Address, DialError, errorText, UsageError, type World } from "../base/mod.ts";
import type { Reply } from "../wire/mod.ts";
import { RedisConnection, type RedisConnectionOptions } from "./connection.ts";
import { OptionReader } from "./options.ts";

/** The master that is wanted, the login for its sentinels, and which answers count. */
interface SentinelRules {
  readonly masterName: string;
  /** Credentials for the sentinels, not for the master. */
  readonly username: string | null;
  readonly password: string | null;
  /** The answer of a sentinel that sees fewer other sentinels does not count. Celery's default is 0. */
  readonly minOtherSentinels: number;
}

/** A group of sentinels, from the URL and settings. */
export interface SentinelGroup extends SentinelRules {
  /** At least one; tried in order. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
}

/** A group of sentinels, by their addresses. */
export interface SentinelQuestion extends SentinelRules {
  /** At least one; tried in order. */
  readonly sentinels: readonly Address[];
}

/**
 * Returns the group of `nodes` with the options of `setting`: `master_name` (also taken from the URL's
 * query), `min_other_sentinels`, and `username` and `password` in `sentinel_kwargs`. Throws UsageError.
 */
export function sentinelGroup(
  nodes: SentinelGroup["nodes"],
  from: {
    readonly setting: string;
    readonly given: Readonly<Record<string, unknown>>;
    readonly query: Readonly<Record<string, string>>;
  },
): SentinelGroup {
  const options = new OptionReader(from.setting, from.given);
  const login = options.options("sentinel_kwargs");
  const masterName = options.text("master_name", null) || from.query["master_name"];
  if (!masterName) throw new UsageError(`Cannot use sentinel://: ${from.setting} has no "master_name"`);
  return {
    nodes,
    masterName,
    username: login.text("username", null) || null,
    password: login.text("password", null) || null,
    minOtherSentinels: options.number("min_other_sentinels", 0),
  };
}

/**
 * Returns the master's host and port. Rejects with DialError, which contains each sentinel's answer, or with
 * the signal's reason.
 */
export async function findMaster(
  world: World,
  question: SentinelQuestion,
  options: RedisConnectionOptions,
): Promise<{ host: string; port: number }> {
  const refusals: string[] = [];
  for (const address of question.sentinels) {
    options.signal?.throwIfAborted();
    const where = address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
    try {
      const answer = await ask(world, question, address, options);
      if (typeof answer !== "string") return answer;
      refusals.push(`${where}: ${answer}`);
    } catch (error) {
      options.signal?.throwIfAborted();
      refusals.push(`${where}: ${errorText(error)}`);
    }
  }
  throw new DialError(
    `Cannot find the master "${question.masterName}" through any sentinel: ${refusals.join("; ")}`,
    { isRetryable: true },
  );
}

async function ask(
  world: World,
  question: SentinelQuestion,
  address: Address,
  options: RedisConnectionOptions,
): Promise<{ host: string; port: number } | string> {
  const { username, password } = question;
  await using connection = await RedisConnection.open(
    world,
    { address, username, password, db: 0 },
    { ...options, bulk: "text" },
  );
  const facts = pairs(await connection.call(["SENTINEL", "MASTER", question.masterName]));
  const flags = (facts.get("flags") ?? "").split(",");
  if (!flags.includes("master") || flags.includes("s_down") || flags.includes("o_down")) {
    return `the master is down (${flags.join(",")})`;
  }
  const others = Number(facts.get("num-other-sentinels") ?? 0);
  if (others < question.minOtherSentinels) {
    return `it sees ${others} other sentinels, fewer than ${question.minOtherSentinels}`;
  }
  const host = facts.get("ip");
  const port = Number(facts.get("port"));
  if (!host || !(port > 0)) return "it does not name the master's address";
  return { host, port };
}

/** Reads a map, which RESP2 sends as a flat list. */
function pairs(reply: Reply): Map<string, string> {
  const found = new Map<string, string>();
  if (reply instanceof Map) {
    for (const [key, value] of reply) found.set(String(key), String(value));
  } else if (Array.isArray(reply)) {
    for (let i = 0; i + 1 < reply.length; i += 2) found.set(String(reply[i]), String(reply[i + 1]));
  }
  return found;
}
