-- How the ledger keeps calls whose messages are elsewhere, for the scripts that name this file.
--
-- There is no line, so the priority of a message says nothing of its place: each stands in `running`, `crashes` and `due`
-- as one of priority 0. `due` says until when one counts as scheduled, and nothing comes of it. The tokens end in a number
-- whose last digit is the priority.
--
-- `generations` holds in which generation a message is, where that is not 0; an `r` behind it says that it was reopened and
-- has not run since. `ended` is kept of calls that have ended, for copies that come late, and holds their generation;
-- a result without it is one of the first life. It stays when the id has another life: that knows better. A claim is a generation, a space, the queue, a line feed, and the body.
-- `orphans` orders queues, each with a space and an id, by a number whose last digit is the priority.

local LIFE = 1048576 -- that of asyncq/ledger.py

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

-- End calls as conclude() does, and remember it: for so many ms at the least, and of a later life for no less than the ends
-- before it.
local function conclude_for_good(calls, least_ms)
  local ids = {}
  for i, call in ipairs(calls) do
    ids[i] = call.id
  end
  local values = fields_of(generations, ids)
  for i, call in ipairs(calls) do
    local generation = generation_in(values[i])
    local kept_ms = call.record and call.ttl_ms or 0
    if generation >= LIFE then
      local earlier_ms = redis.call('PTTL', ended .. call.id)
      redis.call('SET', ended .. call.id, generation, 'PX', math.max(kept_ms, least_ms, earlier_ms))
    elseif kept_ms < least_ms then
      redis.call('SET', ended .. call.id, generation, 'PX', least_ms)
    end
  end
  redis.call('HDEL', generations, unpack(ids))
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

-- Returns for each id its claim: generation, and queue with body; false: it is not claimed.
local function claims_of(ids)
  local keys, claims = {}, {}
  for i, id in ipairs(ids) do
    keys[i] = claim .. id
  end
  for i, value in ipairs(#keys > 0 and redis.call('MGET', unpack(keys)) or {}) do
    local generation, message = string.match(value or '', '^(%d+) (.*)$')
    claims[i] = generation and {tonumber(generation), message} or false
  end
  return claims
end
