/** The scripts that the Redis store runs on the server. They use only the keys that they are given. */

/**
 * Stores and publishes documents, in order.
 *
 * KEYS: one per document. ARGV: seconds to keep ("0": for ever), then the documents. Readers see the same as
 * after Celery's SETEX and PUBLISH.
 */
export const STORE_SCRIPT = `local call, ttl = redis.call, ARGV[1]
for n = 1, #KEYS do
  local key, document = KEYS[n], ARGV[n + 1]
  if ttl == '0' then call('SET', key, document) else call('SETEX', key, ttl, document) end
  call('PUBLISH', key, document)
end`;

/**
 * Returns a script that stores and publishes one document. KEYS: its key. ARGV: the document, and the seconds
 * to keep it if it expires. The text is as short as possible, since it is sent with each document.
 */
export function storeOneScript(publish: "PUBLISH" | "SPUBLISH", isExpiring: boolean): string {
  const set = isExpiring ? "'SETEX',KEYS[1],ARGV[2],ARGV[1]" : "'SET',KEYS[1],ARGV[1]";
  return `redis.call(${set})redis.call('${publish}',KEYS[1],ARGV[1])`;
}

/**
 * Counts members of chords, in order. Returns for each false, or the number of members if the header is
 * complete and this caller completes it. The members are read without a script, since Lua would read every
 * byte of them.
 *
 * KEYS: members, growth, size, owner ("": it has ended) of each group. ARGV: "1" ordered, seconds to keep
 * ("0": for ever), then runs: the number of the group's first key, the first score, the last task's id, how
 * many, and the members. In a run of several the scores follow each other, and the members are JSON. An
 * earlier member of the same task is replaced: its text begins with `[1, "<task id>"` as Python writes it, or
 * without the blank, or with a span instead of the 1 (chord.ts). A header is complete if the number of
 * members equals the size, as in Celery; both are read once per group, since nothing else writes meanwhile.
 *
 * A run of new members that does not exceed the size is added in one call: members that are looked up and
 * added one by one cost the server three times as much.
 */
export const COUNT_SCRIPT = `local call = redis.call
local ordered, ttl = ARGV[1] == '1', ARGV[2]
local numbers, sizes, replies = {}, {}, {}
local function complete(first, seen, id)
  if numbers[first] ~= sizes[first] then return false end
  local owner = call('GET', KEYS[first + 3])
  if owner == '' or seen and owner and owner ~= id then return false end
  if ttl == '0' then call('SET', KEYS[first + 3], id) else call('SETEX', KEYS[first + 3], ttl, id) end
  return numbers[first]
end
local function untraced(text)
  local bare = text:gsub('^%["[^"]*",', '[1,')
  return bare
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
        local bare = untraced(text)
        if text ~= member and (bare:sub(1, #spaced) == spaced or bare:sub(1, #tight) == tight) then
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
local function countRun(first, score, id, from, to)
  local last = score + to - from
  local isNew = numbers[first] + to - from + 1 <= (sizes[first] or math.huge)
  if isNew and call('ZCOUNT', KEYS[first], score, last) == 0 then
    local run = {}
    for n = from, to do
      run[#run + 1], run[#run + 2] = score + n - from, ARGV[n]
      replies[#replies + 1] = false
    end
    numbers[first] = numbers[first] + call('ZADD', KEYS[first], unpack(run))
    replies[#replies] = complete(first, false, id)
    return
  end
  for n = from, to do
    replies[#replies + 1] = count(first, score + n - from, ARGV[n], untraced(ARGV[n]):match('^%[1,"([^"]*)"'))
  end
end
local at = 3
while at <= #ARGV do
  local first, score, id, length = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  if not numbers[first] then
    numbers[first] = ordered and call('ZCARD', KEYS[first]) or call('LLEN', KEYS[first])
    local size = call('GET', KEYS[first + 2])
    sizes[first] = size and tonumber(size) + tonumber(call('GET', KEYS[first + 1]) or '0')
  end
  if length == 1 then
    replies[#replies + 1] = count(first, score, ARGV[at + 4], id)
  else
    countRun(first, tonumber(score), id, at + 4, at + 3 + length)
  end
  at = at + 4 + length
end
if ttl ~= '0' then
  for key = 1, #KEYS do if key % 4 ~= 0 then call('EXPIRE', KEYS[key], ttl) end end
end
return replies`;
