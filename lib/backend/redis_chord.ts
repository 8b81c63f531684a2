/**
 * Counting a chord's member in Celery's own keys, so that Python workers and ours finish one chord together.
 *
 * Source: celery 5.2.6 backends/redis.py RedisBackend.on_chord_part_return.
 */

import { ENDED, untraced } from "./chord.ts";
import type { Argument, RedisClient, ReplyOptions } from "./node_redis.ts";
import { COUNT_SCRIPT } from "./redis_scripts.ts";

/** A member to count. */
export interface ChordCount {
  /** The group's key; `.j`, `.t`, `.s` and `.o` follow it. */
  readonly key: string;
  readonly taskId: string;
  /** Its index in the header; null: it has none, and comes last. */
  readonly index: number | null;
  readonly member: Argument;
  /** A sorted set by index, else a list by time (`result_chord_ordered` off). */
  readonly isOrdered: boolean;
  /** Seconds; null: for ever. */
  readonly ttl: string | null;
}

/** How many members a complete header has; null: it is not complete, or another caller completes it. */
export type Counted = number | null;

/** The longest run; Lua's `unpack` takes a few thousand values. */
const RUN_MAX = 1000;
/** Ids that JSON does not escape; a member with any other id is counted alone. */
const PLAIN_ID = /^[\w.:-]*$/;

/**
 * Counts members in order, in one round trip, or on a cluster in one for each group. `isOrdered` and `ttl`
 * are the same for all. Rejects as `sendCommand` does.
 */
export async function countByScript(
  client: RedisClient,
  counts: readonly ChordCount[],
  isCluster: boolean,
): Promise<Counted[]> {
  if (!isCluster) return await countTogether(client, counts);
  const byKey = Map.groupBy(counts, ({ key }) => key);
  const counted = new Map<ChordCount, Counted>();
  await Promise.all([...byKey.values()].map(async (group) => {
    const replies = await countTogether(client, group);
    group.forEach((count, n) => counted.set(count, replies[n]!));
  }));
  return counts.map((count) => counted.get(count)!);
}

async function countTogether(client: RedisClient, counts: readonly ChordCount[]): Promise<Counted[]> {
  const first = counts[0]!;
  const keys: string[] = [];
  const places = new Map<string, string>();
  const args: Argument[] = [first.isOrdered ? "1" : "0", first.ttl ?? "0"];
  for (let from = 0, to = 0; from < counts.length; from = to) {
    to = runEnd(counts, from);
    const { key } = counts[from]!;
    let place = places.get(key);
    if (place === undefined) {
      places.set(key, place = String(keys.length + 1));
      keys.push(`${key}.j`, `${key}.t`, `${key}.s`, `${key}.o`);
    }
    args.push(place, scoreOf(counts[from]!), counts[to - 1]!.taskId, String(to - from));
    for (let n = from; n < to; n++) args.push(memberOf(counts[n]!));
  }
  return await client.sendCommand(
    ["EVAL", COUNT_SCRIPT, String(keys.length), ...keys, ...args],
  ) as Counted[];
}

/** Returns the end of the run that begins at `from`: members of one group with consecutive indices. */
function runEnd(counts: readonly ChordCount[], from: number): number {
  const { key, index, isOrdered } = counts[from]!;
  let to = from + 1;
  if (!isOrdered || index === null || !isRunnable(counts[from]!)) return to;
  while (to < counts.length && to - from < RUN_MAX) {
    const next = counts[to]!;
    if (next.key !== key || next.index !== index + to - from || !isRunnable(next)) break;
    to++;
  }
  return to;
}

/**
 * Returns the text of a member: in a list without its span, since lists find a repeated member by its whole
 * text.
 */
function memberOf({ member, isOrdered }: ChordCount): Argument {
  return isOrdered || typeof member !== "string" ? member : untraced(member);
}

function isRunnable({ member, taskId }: ChordCount): boolean {
  return typeof member === "string" && PLAIN_ID.test(taskId);
}

function scoreOf({ index }: ChordCount): string {
  return index === null ? "+inf" : String(index);
}

/**
 * Counts one member with Celery's own commands, which cannot recognise a member counted again with another
 * result. Rejects as `transaction` does.
 */
export async function countPlainly(client: RedisClient, count: ChordCount): Promise<Counted> {
  const { key, isOrdered, ttl } = count;
  const member = typeof count.member === "string" ? untraced(count.member) : count.member;
  const list = `${key}.j`;
  const commands: Argument[][] = isOrdered
    ? [["ZADD", list, scoreOf(count), member], ["ZCOUNT", list, "-inf", "+inf"]]
    : [["RPUSH", list, member], ["LLEN", list]];
  commands.push(["GET", `${key}.t`], ["GET", `${key}.s`], ["GET", `${key}.o`]);
  if (ttl !== null) { for (const suffix of [".j", ".t", ".s"]) commands.push(["EXPIRE", key + suffix, ttl]); }
  const replies = await client.transaction(commands);
  const [, , , size, owner] = replies;
  const number = Number(replies[1]);
  return size !== null && owner !== ENDED && number === Number(size) + Number(replies[2] ?? 0)
    ? number
    : null;
}

/** Reads the documents of a header's members, in order. */
export async function headerDocuments(
  client: RedisClient,
  header: Pick<ChordCount, "key" | "isOrdered">,
  as: ReplyOptions,
): Promise<(string | Uint8Array)[]> {
  const command = header.isOrdered ? "ZRANGE" : "LRANGE";
  return await client.sendCommand([command, `${header.key}.j`, "0", "-1"], as) as (string | Uint8Array)[];
}
