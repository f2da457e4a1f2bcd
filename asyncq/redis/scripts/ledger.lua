-- How the ledger keeps calls whose messages are elsewhere, for the scripts that name this file.
--
-- running, crashes, due: a member begins with priority 0, as there is no line; the last digit of a token is the priority.
--   `due` says until when a call counts as scheduled, and nothing comes of it.
-- generations: that of a call, where it is not 0, and behind it, until it runs: `r`, it was reopened; `c`, its body is new.
-- ended: the generation in which a call has ended, for copies that come late. A result without it is one of the first
--   life. It stays when the id has another life.
-- claim: a generation, with a unique key `u` and the size of its term (keyed.lua), a space, that term, the queue, a line
--   feed, and the body.
-- orphans: queues, each with a space and an id, by a number whose last digit is the priority.

local LIFE, WITHDRAWN_MS = 1048576, 86400000 -- those of asyncq/ledger/lives.py

-- Returns the first generation that is wanted of an id whose last call has ended in this one; false: it had none.
local function next_life(last)
  return last and (math.floor(last / LIFE) + 1) * LIFE or 0
end

-- Enter the queue among those that are known, and the namespace as a ledger's: the server may have been emptied.
local function make_known()
  redis.call('SADD', queues, queue_of(messages, 'messages'))
  redis.call('SET', ledger, 1)
end

local function generation_in(value)
  return tonumber(string.match(value or '0', '^%d+'))
end

-- Returns what a list of hash fields holds; nothing at once if there is no such hash.
local function fields_of(hash, fields)
  return redis.call('EXISTS', hash) == 1 and redis.call('HMGET', hash, unpack(fields)) or {}
end

-- End calls as conclude() does, and remember it for so many ms, or for longer, where copies may come for longer: those of an
-- earlier generation, or of one that was parked (parking.lua). `needs` is what a call needs.
local function conclude_for_good(calls, least_ms)
  local ids, is_any_limited = {}, false
  for i, call in ipairs(calls) do
    ids[i] = call.id
    is_any_limited = is_any_limited or call.needs
  end
  local values = fields_of(generations, ids)
  for i, call in ipairs(calls) do
    local generation = generation_in(values[i])
    local kept_ms = call.record and call.ttl_ms or 0
    local longest_ms = math.max(kept_ms, least_ms)
    if generation > 0 or call.needs and string.sub(call.needs, -1) == ' ' then
      longest_ms = math.max(longest_ms, redis.call('PTTL', ended .. call.id))
    end
    if generation >= LIFE or longest_ms > kept_ms then
      redis.call('SET', ended .. call.id, generation, 'PX', longest_ms)
    end
  end
  redis.call('HDEL', generations, unpack(ids))
  if is_any_limited then
    redis.call('HDEL', terms, unpack(ids))
  end
  conclude(calls)
end

-- Returns for each id the generation in which its call has ended; false: it has not.
local function ends_of(ids)
  local keys, ends = {}, {}
  for i, id in ipairs(ids) do
    keys[2 * i - 1] = ended .. id
    keys[2 * i] = result .. id
  end
  local found = #keys > 0 and redis.call('MGET', unpack(keys)) or {}
  for i in ipairs(ids) do
    ends[i] = tonumber(found[2 * i - 1] or found[2 * i] and 0) or false
  end
  return ends
end

-- Returns for each id its claim: generation, queue with body, and term, empty: no key; false: it is not claimed.
local function claims_of(ids)
  local keys, claims = {}, {}
  for i, id in ipairs(ids) do
    keys[i] = claim .. id
  end
  for i, value in ipairs(#keys > 0 and redis.call('MGET', unpack(keys)) or {}) do
    local generation, size, rest = string.match(value or '', '^(%d+)u?(%d*) (.*)$')
    size = tonumber(size) or 0
    claims[i] = generation and {tonumber(generation), string.sub(rest, size + 1), string.sub(rest, 1, size)} or false
  end
  return claims
end

-- Returns a claim as it is kept.
local function claim_of(claimed)
  local generation, message, term = unpack(claimed)
  return generation .. (term == '' and '' or 'u' .. #term) .. ' ' .. term .. message
end

-- Let a call that waits be due then, or at once.
local function wait_until(prefix, member, due_ms, now)
  if due_ms > now then
    redis.call('ZADD', prefix .. 'due', due_ms, member)
  else
    redis.call('ZREM', prefix .. 'due', member)
  end
end

-- Remember, whenever a call ends, that no copy of what it is now is wanted, for as long as one may come.
local function remember_copy(prefix, id, now)
  local name = prefix .. 'ended:' .. id
  local due_ms = tonumber(redis.call('ZSCORE', prefix .. 'due', '0' .. id) or 0)
  local ms = math.max(due_ms - now, 0) + WITHDRAWN_MS
  local generation = generation_in(redis.call('HGET', prefix .. 'generations', id) or nil)
  redis.call('SET', name, generation, 'PX', string.format('%.0f', math.max(ms, redis.call('PTTL', name))))
end

-- Let a call be an orphan: it is still to be published.
local function make_orphan(queue, id, priority, now)
  local newest = redis.call('ZREVRANGE', orphans, 0, 0, 'WITHSCORES')[2]
  local number = math.max(now * 100, math.floor((newest or 0) / 10)) + 1
  redis.call('ZADD', orphans, string.format('%.0f%s', number, priority), queue .. ' ' .. id)
end

-- Let what a call that waits has become be published: until then it is an orphan. Returns its generation, and its due time.
local function send_on(prefix, queue, id, priority, now)
  local heard = redis.call('HGET', prefix .. 'generations', id) or '0'
  local generation = generation_in(heard) + 1
  redis.call('HSET', prefix .. 'generations', id, generation .. (string.match(heard, 'r') or '') .. 'c')
  make_orphan(queue, id, priority, now)
  return generation, redis.call('ZSCORE', prefix .. 'due', '0' .. id) or '0'
end
