-- How the ledger keeps calls whose messages are elsewhere, for the scripts that name this file.
--
-- There is no line, so the priority of a message says nothing of its place: each stands in `running`, `crashes` and `due`
-- as one of priority 0. `due` says until when one counts as scheduled, and nothing comes of it. The tokens end in a number
-- whose last digit is the priority.
--
-- `generations` holds how often a message was sent on, where it was; `ended` is kept of calls that have ended, for copies
-- that come late. `orphans` orders the names of queues, a space, and ids by a number whose last digit is the priority.

local TOMBSTONE_MS = 600000 -- that of asyncq/ledger.py

-- End calls as conclude() does, and remember it for so many ms, nil: for TOMBSTONE_MS at the least. A record that is kept
-- for that long says that its call has ended.
local function conclude_for_good(calls, ms)
  local ids = {}
  for i, call in ipairs(calls) do
    ids[i] = call.id
    if ms or not call.record or call.ttl_ms < TOMBSTONE_MS then
      redis.call('SET', ended .. call.id, '', 'PX', ms or TOMBSTONE_MS)
    end
  end
  redis.call('HDEL', generations, unpack(ids))
  conclude(calls)
end

-- Returns for each id whether its call has ended.
local function which_have_ended(ids)
  local keys, have_ended = {}, {}
  for i, id in ipairs(ids) do
    keys[2 * i - 1] = ended .. id
    keys[2 * i] = result .. id
  end
  local found = #keys > 0 and redis.call('MGET', unpack(keys)) or {}
  for i in ipairs(ids) do
    have_ended[i] = (found[2 * i - 1] or found[2 * i]) and true
  end
  return have_ended
end
