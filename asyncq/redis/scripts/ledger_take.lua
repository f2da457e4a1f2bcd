-- KEYS: consumer messages due running crashes generations result ended claim orphans queues workers ledger uniques unique terms
-- USES: queue suspects uniques known ledger keyed
-- FLAGS: allow-oom
-- ARGV: name of the consumer, number of this take, how many copies of it are in other calls, 1 or 0 for whether none is
--       to be lent: what could be waits in the line of its queue; how many suspects may be lent; then of each copy its
--       member, its generation with, behind a space, the terms of one that says any, its body
-- Returns -1: the consumer is no member (any more), or has given this take up. Else of each copy that is not lent, or
--       is with crashes on its count or with terms: its number from 0, what it is (lent, granted, parked, held, gone, or
--       suspect: no more of those were to be lent), and the crashes, of what is lent below 0 if some are in a name; or
--       when its line is asked for, in ms; or the time in ms at which the lease of its holder ends, 0: it is over, or it
--       has sent the copy on itself.
local WIDTH, FIRST = 3, 6
local name, number, offset, is_put_off = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local suspects_left = tonumber(ARGV[5])
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
local kept = redis.call('EXISTS', orphans, uniques, terms)
local has_orphans, has_keys = kept > 0 and redis.call('EXISTS', orphans) == 1, kept > 0
local needed = kept > 0 and fields_of(terms, ids) or {}
-- LATER: with_limits(park parked_ms prefix_by call_others) terms grants holders admitting groups lanes parking
local limits = nil -- until a call needs something
local here, stands_here = {}, {} -- the generations of what is lent, and of what waits, in this very step

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

local exceptions, lent, lent_ids, lent_members, noted, sent_on, waiting_members = {}, {}, {}, {}, {}, {}, {}

local function except(i, what, number)
  exceptions[#exceptions + 1] = i - 1
  exceptions[#exceptions + 1] = what
  exceptions[#exceptions + 1] = number
end

-- Know a call as its copy says it is. That it was reopened, or changed, is known until it is lent.
local function note(i, id, generation, body, is_lent)
  local heard = heard_of[i]
  if generation > generation_in(heard) or not bodies[i] then
    noted[#noted + 1] = id
    noted[#noted + 1] = body
  end
  local marks = is_lent and '' or string.match(heard or '', '%a*$')
  if generation > generation_in(heard) then
    marks = string.gsub(marks, 'c', '')
  end
  local told = generation .. marks
  if told ~= (heard or '0') then
    sent_on[#sent_on + 1] = id
    sent_on[#sent_on + 1] = told
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
end

local function lend(i, id, generation, has_terms)
  here[id] = generation
  lent_ids[#lent_ids + 1] = id
  lent_members[#lent_members + 1] = members[i]
  lent[#lent + 1] = members[i]
  lent[#lent + 1] = name .. '/' .. ARGV[2] .. '/' .. (offset + i - 1) .. string.sub(ARGV[FIRST + (i - 1) * WIDTH], 1, 1)
  local crash = told_of(counted[i])
  if crash or has_terms then
    except(i, has_terms and 'granted' or 'lent', crash or 0)
  end
end

-- Let a suspect wait whose copy has come.
local function leave(i, id, generation, crashes)
  stands_here[id] = generation
  waiting_members[#waiting_members + 1] = members[i]
  except(i, 'suspect', crashes)
end

-- Let a call wait for what it needs. Returns when its line is asked for; or nothing, and whether it was granted anything.
local function park(i, id, generation, said)
  local is_newer = not bodies[i] or generation > generation_in(heard_of[i])
  local text = is_newer and said or needed[i] or said or is_put_off and '{}'
  if not text then
    return nil, false
  end
  limits = limits or with_limits()
  local is_suspect = times_in(counted[i] or nil) >= SUSPECT_CRASHES
  local priority = string.byte(ARGV[FIRST + (i - 1) * WIDTH]) - 48
  local turn_ms, has_terms = limits.park(
    limits.prefix_by(messages, 'messages'), members[i], priority, text, needed[i], is_suspect, is_newer and not stands_here[id],
    is_put_off
  )
  if turn_ms then
    stands_here[id] = generation
    waiting_members[#waiting_members + 1] = members[i]
    redis.call('SET', ended .. id, generation, 'PX', limits.parked_ms(redis.call('PTTL', ended .. id)))
  end
  return turn_ms, has_terms
end

-- Whether a copy is none of what its call was changed to, although it is of that generation.
local function is_other(i, generation, body)
  local heard = heard_of[i]
  return heard and string.sub(heard, -1) == 'c' and generation == generation_in(heard) and body ~= bodies[i]
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
  local generation, said = tonumber(ARGV[at + 1]), nil
  if not generation then
    generation, said = string.match(ARGV[at + 1], '^(%d+) (.*)$')
    generation = tonumber(generation)
  end
  local wanted = here[id] or stands_here[id] or oldest[id] or generation_in(heard_of[i])
  local end_ms = end_of_lease(holder_of(i, id))
  if generation < wanted or is_other(i, generation, ARGV[at + 2]) then
    except(i, 'gone', 0)
  elseif end_ms then
    except(i, 'held', generation > wanted and 0 or end_ms)
  else
    local turn_ms, has_terms = park(i, id, generation, said)
    local crashes = counted[i] and times_in(counted[i]) or 0
    local is_suspect = not turn_ms and crashes >= SUSPECT_CRASHES
    local is_left = is_suspect and suspects_left <= 0
    note(i, id, generation, ARGV[at + 2], not turn_ms and not is_left)
    if turn_ms then
      except(i, 'parked', turn_ms)
    elseif is_left then
      leave(i, id, generation, crashes)
    else
      suspects_left = suspects_left - (is_suspect and 1 or 0)
      lend(i, id, generation, has_terms)
    end
  end
end

if #waiting_members > 0 then
  redis.call('ZREM', due, unpack(waiting_members))
  if is_put_off then
    limits.call_others(limits.prefix_by(messages, 'messages'))
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
