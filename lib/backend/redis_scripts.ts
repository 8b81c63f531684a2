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
 *
 * Members whose indexes follow each other, of which none is there and which do not go beyond the size, are added in one
 * call: a member that is looked for and added by itself costs the server three times as much.
 */
export const COUNT_SCRIPT = `local call = redis.call
local ordered, ttl = ARGV[1] == '1', ARGV[2]
local numbers, sizes, replies = {}, {}, {}
local function complete(first, seen, id)
  if numbers[first] ~= sizes[first] then return false end
  local owner = call('GET', KEYS[first + 3])
  if seen and owner and owner ~= id then return false end
  if ttl == '0' then call('SET', KEYS[first + 3], id) else call('SETEX', KEYS[first + 3], ttl, id) end
  if ordered then return call('ZRANGE', KEYS[first], 0, -1) end
  return call('LRANGE', KEYS[first], 0, -1)
end
local function count(first, score, member, id)
  local members, number, seen = KEYS[first], numbers[first], false
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
  return complete(first, seen, id)
end
local function runFrom(n)
  local score, last = tonumber(ARGV[n + 1]), n
  if not ordered or score == math.huge then return n end
  while last - n < 4000 and ARGV[last + 4] == ARGV[n] and tonumber(ARGV[last + 5]) == score + 1 do
    last, score = last + 4, score + 1
  end
  return last
end
local n = 3
while n <= #ARGV do
  local first, last = tonumber(ARGV[n]), runFrom(n)
  if not numbers[first] then
    numbers[first] = ordered and call('ZCARD', KEYS[first]) or call('LLEN', KEYS[first])
    local size = call('GET', KEYS[first + 2])
    sizes[first] = size and tonumber(size) + tonumber(call('GET', KEYS[first + 1]) or '0')
  end
  local isNew = last > n and numbers[first] + (last - n) / 4 + 1 <= (sizes[first] or math.huge)
  if isNew and call('ZCOUNT', KEYS[first], ARGV[n + 1], ARGV[last + 1]) == 0 then
    local run = {}
    for at = n, last, 4 do
      run[#run + 1], run[#run + 2] = ARGV[at + 1], ARGV[at + 2]
      replies[#replies + 1] = false
    end
    numbers[first] = numbers[first] + call('ZADD', KEYS[first], unpack(run))
    replies[#replies] = complete(first, false, ARGV[last + 3])
  else
    for at = n, last, 4 do
      replies[#replies + 1] = count(first, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
    end
  end
  n = last + 4
end
if ttl ~= '0' then
  for key = 1, #KEYS do if key % 4 ~= 0 then call('EXPIRE', KEYS[key], ttl) end end
end
return replies`;
