/** The two scripts the Redis store runs on the server. Both touch only the keys they are given. */

/**
 * Stores documents and tells of each, in order.
 *
 * KEYS: one per document. ARGV: seconds to keep ("0": for ever), then the documents. What a reader sees is what
 * Celery's SETEX and PUBLISH give.
 */
export const STORE_SCRIPT = `local call, ttl = redis.call, ARGV[1]
for n = 1, #KEYS do
  local key, document = KEYS[n], ARGV[n + 1]
  if ttl == '0' then call('SET', key, document) else call('SETEX', key, ttl, document) end
  call('PUBLISH', key, document)
end`;

/**
 * Counts a chord's member; gives all members where the header is complete and the caller is the one to go on.
 *
 * KEYS: members, growth, size, owner. ARGV: "1" ordered, score, member, task id, seconds to keep ("0": for ever).
 * An earlier member of the same task is replaced: its text begins with `[1, "<task id>"` as Python writes it, or
 * without the blank. The size is asked for by equality, as Celery does.
 */
export const COUNT_SCRIPT = `local call = redis.call
local members, id, ttl = KEYS[1], ARGV[4], ARGV[5]
local ordered = ARGV[1] == '1'
local seen = false
if not ordered then
  -- LPOS is of Redis 6.0.6; an older server counts a repeated member again, as Celery does.
  local at = redis.pcall('LPOS', members, ARGV[3])
  seen = type(at) == 'number'
  if not seen then call('RPUSH', members, ARGV[3]) end
else
  if ARGV[2] ~= '+inf' then
    local spaced, tight = '[1, "' .. id .. '"', '[1,"' .. id .. '"'
    for _, text in ipairs(call('ZRANGEBYSCORE', members, ARGV[2], ARGV[2])) do
      if text ~= ARGV[3] and (text:sub(1, #spaced) == spaced or text:sub(1, #tight) == tight) then
        call('ZREM', members, text)
        seen = true
      end
    end
  end
  if call('ZADD', members, ARGV[2], ARGV[3]) == 0 then seen = true end
end
local count = ordered and call('ZCARD', members) or call('LLEN', members)
local grown, size = call('GET', KEYS[2]), call('GET', KEYS[3])
if ttl ~= '0' then for n = 1, 3 do call('EXPIRE', KEYS[n], ttl) end end
if not size or count ~= tonumber(size) + tonumber(grown or '0') then return false end
local owner = call('GET', KEYS[4])
if seen and owner and owner ~= id then return false end
if ttl == '0' then call('SET', KEYS[4], id) else call('SETEX', KEYS[4], ttl, id) end
if ordered then return call('ZRANGE', members, 0, -1) end
return call('LRANGE', members, 0, -1)`;
