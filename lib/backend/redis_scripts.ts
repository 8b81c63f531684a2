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
 * Counts members of chords, in order; for each false, or all members where the header is complete and the caller is the
 * one to go on.
 *
 * KEYS: members, growth, size, owner of each group. ARGV: "1" ordered, seconds to keep ("0": for ever), then for each
 * member the number of its group's first key, score, member, task id. An earlier member of the same task is replaced:
 * its text begins with `[1, "<task id>"` as Python writes it, or without the blank. The size is asked for by equality,
 * as Celery does; it and the number of members are read once per group, since nobody else writes meanwhile.
 */
export const COUNT_SCRIPT = `local call = redis.call
local ordered, ttl = ARGV[1] == '1', ARGV[2]
local numbers, sizes = {}, {}
local function count(first, score, member, id)
  local members = KEYS[first]
  if not numbers[first] then
    numbers[first] = ordered and call('ZCARD', members) or call('LLEN', members)
    local size = call('GET', KEYS[first + 2])
    sizes[first] = size and tonumber(size) + tonumber(call('GET', KEYS[first + 1]) or '0')
  end
  local number, seen = numbers[first], false
  if not ordered then
    -- LPOS is of Redis 6.0.6; an older server counts a repeated member again, as Celery does.
    local at = redis.pcall('LPOS', members, member)
    seen = type(at) == 'number'
    if not seen then number = call('RPUSH', members, member) end
  else
    if score ~= '+inf' then
      local spaced, tight = '[1, "' .. id .. '"', '[1,"' .. id .. '"'
      for _, text in ipairs(call('ZRANGEBYSCORE', members, score, score)) do
        if text ~= member and (text:sub(1, #spaced) == spaced or text:sub(1, #tight) == tight) then
          number = number - call('ZREM', members, text)
          seen = true
        end
      end
    end
    local added = call('ZADD', members, score, member)
    if added == 0 then seen = true end
    number = number + added
  end
  numbers[first] = number
  if number ~= sizes[first] then return false end
  local owner = call('GET', KEYS[first + 3])
  if seen and owner and owner ~= id then return false end
  if ttl == '0' then call('SET', KEYS[first + 3], id) else call('SETEX', KEYS[first + 3], ttl, id) end
  if ordered then return call('ZRANGE', members, 0, -1) end
  return call('LRANGE', members, 0, -1)
end
local replies = {}
for n = 3, #ARGV, 4 do
  replies[#replies + 1] = count(tonumber(ARGV[n]), ARGV[n + 1], ARGV[n + 2], ARGV[n + 3])
end
if ttl ~= '0' then
  for n = 1, #KEYS do if n % 4 ~= 0 then call('EXPIRE', KEYS[n], ttl) end end
end
return replies`;
