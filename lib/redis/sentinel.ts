/**
 * Who is master: asked of Redis Sentinels.
 *
 * Source: Redis "Sentinel client spec"; redis-py 4.3.4 sentinel.py Sentinel.discover_master.
 */

import { type Address, DialError, errorText, type World } from "../base/mod.ts";
import type { Reply } from "../wire/mod.ts";
import { RedisConnection, type RedisConnectionOptions } from "./connection.ts";

/** A group of sentinels and the master looked for. */
export interface SentinelQuestion {
  /** At least one; asked in order. */
  readonly sentinels: readonly Address[];
  readonly masterName: string;
  /** Credentials for the sentinels, not for the master. */
  readonly username: string | null;
  readonly password: string | null;
  /** An answer of a sentinel that sees fewer others does not count. Default in Celery 0. */
  readonly minOtherSentinels: number;
}

/** The master's host and port. Rejects with DialError that tells what each sentinel said. */
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
    `Cannot find the master "${question.masterName}" by any sentinel: ${refusals.join("; ")}`,
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
  if (!host || !(port > 0)) return "it does not tell the master's address";
  return { host, port };
}

/** A map in RESP3, a flat list in RESP2. */
function pairs(reply: Reply): Map<string, string> {
  const found = new Map<string, string>();
  if (reply instanceof Map) {
    for (const [key, value] of reply) found.set(String(key), String(value));
  } else if (Array.isArray(reply)) {
    for (let i = 0; i + 1 < reply.length; i += 2) found.set(String(reply[i]), String(reply[i + 1]));
  }
  return found;
}
