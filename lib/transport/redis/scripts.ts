/**
 * The Lua scripts that make steps atomic. No script reads JSON: cjson turns an empty array into an empty
 * object, so envelopes are spliced and compared as text only.
 *
 * Every script takes the time from the server, so that the scores of all workers come from one clock.
 */

import { Script } from "../../redis/mod.ts";
import { DEAD_LETTERS_MAX } from "../message.ts";

/** The error of a fetch whose lease has ended. */
export const NO_LEASE = "NOLEASE the lease has ended";

/**
 * Pops messages from lists and records them as unacked in one step, so that no message is ever held by
 * nobody.
 *
 * KEYS: unacked, unacked_index, owner, then the lists in order. ARGV: how many at most, tag prefix, first tag
 * number, "1" to record or "" not to, then per list the text after the envelope in the record. Returns [1 if
 * every list is empty else 0, an error text or "", list number, messages, list number, messages…].
 *
 * Nothing is popped once the lease has ended: a fetch that reaches the server late, over a connection that
 * its worker has given up, would take messages that nobody receives.
 *
 * RPOP comes first on purpose: a server at its memory limit refuses a script whose first write needs memory,
 * and a worker that cannot fetch could never free memory. The LLENs at the end come after every pop because a
 * pop would end the tracking of a key that was read before it (CLIENT TRACKING announces a key once). Tags
 * are recorded from the last to the first: a small sorted set is searched from its low end, so in the other
 * order each insertion would walk past all earlier ones (3 µs per message instead of 0.3).
 */
function popText(pop: string): string {
  return `
local left = tonumber(ARGV[1])
local prefix = ARGV[2]
local number = tonumber(ARGV[3])
local out = {0, ''}
if ARGV[4] == '1' and redis.call('EXISTS', KEYS[3]) == 0 then return {0, '${NO_LEASE}'} end
local t = redis.call('TIME')
local now = t[1] .. '.' .. string.format('%06d', tonumber(t[2]))
for i = 4, #KEYS do
  if left < 1 then return out end
  ${pop}
  if got and got.err then
    out[2] = got.err
  elseif got and #got > 0 then
    if ARGV[4] == '1' then
      local tail = ARGV[i + 1]
      local j = #got
      while j > 0 do
        local fields, scores, n = {}, {}, 0
        while j > 0 and n < 1000 do
          local tag = prefix .. (number + j - 1)
          fields[n + 1] = tag
          fields[n + 2] = '[' .. got[j] .. tail
          scores[n + 1] = now
          scores[n + 2] = tag
          n = n + 2
          j = j - 1
        end
        redis.call('HSET', KEYS[1], unpack(fields))
        redis.call('ZADD', KEYS[2], unpack(scores))
      end
      number = number + #got
    end
    left = left - #got
    out[#out + 1] = i - 4
    out[#out + 1] = got
  end
end
if left < 1 then return out end
for i = 4, #KEYS do redis.pcall('LLEN', KEYS[i]) end
out[1] = 1
return out`;
}

/** The pop for Redis 6.2 and later. */
export const POP = new Script(popText("local got = redis.pcall('RPOP', KEYS[i], left)"));

/**
 * The pop for older servers, whose RPOP takes one message: reads a slice from the end, oldest first, then
 * cuts it off.
 */
export const POP_OLD = new Script(popText(`
  local slice = redis.pcall('LRANGE', KEYS[i], -left, -1)
  local got = slice
  if not slice.err and #slice > 0 then
    redis.call('LTRIM', KEYS[i], 0, -(#slice + 1))
    got = {}
    for k = #slice, 1, -1 do got[#got + 1] = slice[k] end
  end`));

/**
 * Keeps a message, which the same transaction has recorded as unacked, if its list is empty and the lease
 * alive; else moves it into the list. KEYS: unacked, unacked_index, owner, list. ARGV: tag, the text after
 * the envelope in the record, "1" if the consumer holds the message already and keeps it in any case. Returns
 * 1 if the consumer keeps it.
 *
 * The record is not an argument, since Lua reads every byte of its arguments (4 ns each, and two more
 * copies): half of the server's time for a step of a long chain. The first ZREM removes nothing: a server at
 * its memory limit refuses no write of a script whose first write needs no memory, so the message is always
 * in one place or the other.
 */
export const HAND_ON = `
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[3] ~= '1' and (redis.call('EXISTS', KEYS[3]) == 0 or redis.call('LLEN', KEYS[4]) > 0) then
  local record = redis.call('HGET', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('LPUSH', KEYS[4], string.sub(record, 2, -1 - #ARGV[2]))
  return 0
end
local t = redis.call('TIME')
redis.call('ZADD', KEYS[2], t[1] .. '.' .. string.format('%06d', tonumber(t[2])), ARGV[1])
return 1`;

/**
 * Puts messages back into one list, each only if it is still unacked: whoever removes the record owns the
 * message. KEYS: unacked, unacked_index, list. ARGV: "LPUSH" or "RPUSH", then tag and envelope in turn.
 * Returns how many were put back.
 */
export const GIVE_BACK = new Script(`
local given = 0
for i = 2, #ARGV, 2 do
  redis.call('ZREM', KEYS[2], ARGV[i])
  if redis.call('HDEL', KEYS[1], ARGV[i]) == 1 then
    redis.call(ARGV[1], KEYS[3], ARGV[i + 1])
    given = given + 1
  end
end
return given`);

/**
 * Moves a message to the dead letters if it is still unacked. KEYS: unacked, unacked_index, dead. ARGV: tag, document.
 */
export const DEAD_LETTER = new Script(`
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 then
  redis.call('LPUSH', KEYS[3], ARGV[2])
  redis.call('LTRIM', KEYS[3], 0, ${DEAD_LETTERS_MAX - 1})
  return 1
end
return 0`);

/** Moves a dead letter into a list, if it is still there. KEYS: dead, list. ARGV: document, envelope. */
export const REVIVE = new Script(`
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
return 1`);

/**
 * Parks a message: its record gets a tag without an owner, and a score with which a sweep by visibility
 * timeout takes it only that timeout after it was due. KEYS: unacked, unacked_index, parked. ARGV: tag, new
 * tag, due time and score in epoch seconds.
 */
export const PARK = new Script(`
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[2], value)
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
return 1`);

/** Deletes parked messages. KEYS: unacked, unacked_index, parked. ARGV: tags. Returns how many still were parked. */
export const DROP_PARKED = new Script(`
local dropped = 0
for i = 1, #ARGV do
  if redis.call('ZREM', KEYS[3], ARGV[i]) == 1 then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    dropped = dropped + 1
  end
end
return dropped`);

/**
 * Moves parked messages to the head of one list. KEYS: unacked, unacked_index, parked, list. ARGV: tag and
 * envelope in turn. Returns how many were moved.
 */
export const UNPARK = new Script(`
local moved = 0
for i = 1, #ARGV, 2 do
  redis.call('ZREM', KEYS[2], ARGV[i])
  redis.call('ZREM', KEYS[3], ARGV[i])
  if redis.call('HDEL', KEYS[1], ARGV[i]) == 1 then
    redis.call('RPUSH', KEYS[4], ARGV[i + 1])
    moved = moved + 1
  end
end
return moved`);

/**
 * Renews a lease and the scores of the messages held under it. KEYS: unacked_index, owner, owners. ARGV: id,
 * owner's name, lease in milliseconds, tag prefix, then tag numbers. Returns 1 if the lease was still alive,
 * else 0.
 */
export const RENEW = new Script(`
local t = redis.call('TIME')
local now = t[1] .. '.' .. string.format('%06d', tonumber(t[2]))
local alive = redis.call('EXISTS', KEYS[2])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('SADD', KEYS[3], ARGV[1])
local i = 5
while i <= #ARGV do
  local scores, n = {}, 0
  while i <= #ARGV and n < 1000 do
    scores[n + 1] = now
    scores[n + 2] = ARGV[4] .. ARGV[i]
    n = n + 2
    i = i + 1
  end
  redis.call('ZADD', KEYS[1], 'XX', unpack(scores))
end
return alive`);

/**
 * Takes over the messages of an earlier connection of this process. KEYS: unacked, unacked_index. ARGV: old
 * prefix, new prefix, first new number, then the old numbers. Returns the records in that order, null for a
 * missing one.
 */
export const TAKE_OVER = new Script(`
local t = redis.call('TIME')
local now = t[1] .. '.' .. string.format('%06d', tonumber(t[2]))
local first = tonumber(ARGV[3])
local out = {}
for i = 4, #ARGV do
  local old = ARGV[1] .. ARGV[i]
  local value = redis.call('HGET', KEYS[1], old)
  if value then
    local tag = ARGV[2] .. (first + i - 4)
    redis.call('HDEL', KEYS[1], old)
    redis.call('ZREM', KEYS[2], old)
    redis.call('HSET', KEYS[1], tag, value)
    redis.call('ZADD', KEYS[2], now, tag)
  end
  out[i - 3] = value
end
return out`);

/** Deletes lists. KEYS: the lists. Returns how many elements they had. */
export const PURGE = new Script(`
local count = 0
for i = 1, #KEYS do
  count = count + redis.call('LLEN', KEYS[i])
  redis.call('DEL', KEYS[i])
end
return count`);

/** Deletes a key if it still holds a token. KEYS: lock. ARGV: token. */
export const UNLOCK = new Script(
  `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`,
);
