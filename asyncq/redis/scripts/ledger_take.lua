-- KEYS: consumer messages due running crashes generations result ended claim orphans queues workers ledger uniques unique
-- USES: queue suspects uniques known ledger keyed
-- FLAGS: allow-oom
-- ARGV: name of the consumer, number of this take, how many copies of it are in other calls; then of each copy its
--       member, its generation, its body
-- Returns -1: the consumer is no member (any more), or has given this take up. Else of each copy that is not lent, or is with
--       crashes on its count: its number from 0, what it is (lent, held, gone), and the crashes, below 0 if some are in a
--       name, or the time in ms at which the lease of its holder ends, 0: it is over, or it has sent the copy on itself.
local WIDTH, FIRST = 3, 4
local name, number, offset = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lowest = redis.call('GET', consumer .. name)
if not lowest or number < tonumber(lowest) then
  return -1
end

local ids, members = {}, {}
for i = FIRST, #ARGV, WIDTH do
  local id = string.sub(ARGV[i], 2)
  ids[#ids + 1] = id
  members[#members + 1] = '0' .. id
end
local queue = queue_of(messages, 'messages')
local bodies = redis.call('HMGET', messages, unpack(ids))
local tokens = redis.call('HMGET', running, unpack(members))
local heard_of, counted = fields_of(generations, ids), fields_of(crashes, members)
local kept = redis.call('EXISTS', orphans, uniques)
local has_orphans, has_keys = kept > 0 and redis.call('EXISTS', orphans) == 1, kept > 0
local here = {} -- the generations of what is lent in this very step

-- Of what is not known: the oldest generation that is wanted, and the keys of what is over once it is lent.
local oldest, over, claimed_terms = {}, {}, {}
local function recall(unknown)
  local claims = claims_of(unknown)
  for i, generation in ipairs(ends_of(unknown)) do
    local id, claimed = unknown[i], claims[i] and claims[i][2]
    local is_claimed_here = claimed and string.sub(claimed, 1, #queue + 1) == queue .. '\n'
    oldest[id] = is_claimed_here and claims[i][1] or next_life(generation)
    over[id] = is_claimed_here and {claim .. id} or {}
    claimed_terms[id] = is_claimed_here and claims[i][3] ~= '' and claims[i][3] or nil
    if generation then
      over[id][#over[id] + 1] = result .. id
    end
  end
end

-- Returns when the lease of a consumer ends; nil: it is none. One that has run out and was not reclaimed holds still: its
-- owner may have been cut off with everybody else, and is about to renew it.
local function end_of_lease(name)
  local end_ms = name and redis.call('ZSCORE', workers, name)
  return end_ms == 'inf' and '0' or end_ms or nil
end

local function holder_of(i, id)
  return here[id] and name or tokens[i] and string.match(tokens[i], '^(.*)/%d+/%d+$')
end

local exceptions, lent, lent_ids, lent_members, noted, sent_on = {}, {}, {}, {}, {}, {}

local function except(i, what, number)
  exceptions[#exceptions + 1] = i - 1
  exceptions[#exceptions + 1] = what
  exceptions[#exceptions + 1] = number
end

local function lend(i, id, generation, body)
  here[id] = generation
  lent_ids[#lent_ids + 1] = id
  lent_members[#lent_members + 1] = members[i]
  lent[#lent + 1] = members[i]
  lent[#lent + 1] = name .. '/' .. ARGV[2] .. '/' .. (offset + i - 1) .. string.sub(ARGV[FIRST + (i - 1) * WIDTH], 1, 1)
  local heard = heard_of[i]
  if generation > generation_in(heard) or not bodies[i] then
    noted[#noted + 1] = id
    noted[#noted + 1] = body
  end
  if generation > 0 and tostring(generation) ~= heard or heard == '0r' then
    sent_on[#sent_on + 1] = id
    sent_on[#sent_on + 1] = generation
  end
  if claimed_terms[id] then
    confirm_key(id, claimed_terms[id])
    has_keys = true
  end
  if over[id] and #over[id] > 0 then
    redis.call('DEL', unpack(over[id]))
  end
  if has_orphans then
    redis.call('ZREM', orphans, queue .. ' ' .. id)
  end
  local crash = told_of(counted[i])
  if crash then
    except(i, 'lent', crash)
  end
end

local unknown = {}
for i, id in ipairs(ids) do
  if not bodies[i] then
    unknown[#unknown + 1] = id
  end
end
recall(unknown)
for i, id in ipairs(ids) do
  local at = FIRST + (i - 1) * WIDTH
  local generation = tonumber(ARGV[at + 1])
  local wanted = here[id] or oldest[id] or generation_in(heard_of[i])
  local end_ms = end_of_lease(holder_of(i, id))
  if generation < wanted then
    except(i, 'gone', 0)
  elseif end_ms then
    except(i, 'held', generation > wanted and 0 or end_ms)
  else
    lend(i, id, generation, ARGV[at + 2])
  end
end

if #lent > 0 then
  redis.call('HSET', running, unpack(lent))
  redis.call('ZREM', due, unpack(lent_members))
  if has_keys then
    give_back(lent_ids, unique, uniques, 's')
  end
end
if #noted > 0 then
  redis.call('HSET', messages, unpack(noted))
  make_known()
end
if #sent_on > 0 then
  redis.call('HSET', generations, unpack(sent_on))
end
return exceptions
