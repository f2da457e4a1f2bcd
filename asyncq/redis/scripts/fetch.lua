-- KEYS* prefix
-- FIRST: bells lending fetch_plain
-- USES: queue suspects
-- FLAGS: allow-oom
-- ARGV: name of the consumer, number of this fetch, how many in all, how many suspects among them; then of each queue
--       how many at most
-- Returns -1: the consumer is no member (any more); -2: this fetch was given up. Else
--       of each queue: ms until its next message is due, or the line of a limit (-1: none); how many are lent; 0, or a list
--        of the crashes of each (none: 0), negative if some are in a name, and then of 1 for each that was granted terms,
--        else 0; and of each its member, its body, its token. All in one list: another one in it costs as much as two commands.
local PROMOTED_AT_ONCE, PROMOTIONS_OF_GROUPS, ROUNDS, MOVES = 1000, 5, 10, 500
local suspects_left = tonumber(ARGV[4]) -- what else there is in ARGV, fetch_plain.lua has read
local has_crashes = false -- without any, nothing is looked up that has to do with suspects
local limits -- without any terms, nothing is even defined that has to do with limits
local uniquely -- nor with unique keys

local function names_of(q)
  local prefix = KEYS[q]
  return {
    prefix = prefix, number = q, messages = prefix .. 'messages',
    line = prefix .. 'line', ahead = prefix .. 'ahead', due = prefix .. 'due', suspects = prefix .. 'suspects',
    crashes = prefix .. 'crashes', withdrawn = prefix .. 'withdrawn', wake = prefix .. 'wake',
    wake_suspects = prefix .. 'wake_suspects', sequence = prefix .. 'sequence', uniques = prefix .. 'uniques',
    turns = prefix .. 'turns', terms = prefix .. 'terms', lanes = prefix .. 'lanes',
  }
end

-- A consumer that may not fetch has eaten the token that woke it: somebody else has to see what there is.
local function refuse()
  for q = 1, #KEYS do
    local key = names_of(q)
    if redis.call('EXISTS', key.line, key.ahead, key.due, key.turns, key.lanes) > 0 then
      ring(key.wake)
    end
    if redis.call('EXISTS', key.suspects) == 1 then
      ring(key.wake_suspects)
    end
  end
  return refusal
end

-- Let what is due line up; returns the ms until the next, nil: there is none. Of groups more at once: few of one would wait
-- for many fetches behind the many of another.
local function promote(key)
  local ms, round, have_groups = ms_until_due(key.prefix), 0, true
  while ms == 0 and have_groups and round < PROMOTIONS_OF_GROUPS do
    local members = redis.call('ZRANGEBYSCORE', key.due, '-inf', now, 'LIMIT', 0, PROMOTED_AT_ONCE)
    redis.call('ZREMRANGEBYRANK', key.due, 0, #members - 1)
    have_groups = false
    if limits then
      members, have_groups = limits.share_due(key, members)
    end
    if has_crashes and #members > 0 then
      line_up_apart(members, key.line, key.ahead, key.sequence, key.crashes, key.suspects)
    else
      line_up(members, key.line, key.ahead, key.sequence)
    end
    ms = ms_until_due(key.prefix)
    round = round + 1
  end
  return ms
end

-- Drop what was withdrawn in the middle of the line. The first of equal ones is the old one.
local function without_withdrawn(key, members)
  local kept = {}
  for _, member in ipairs(members) do
    local times = tonumber(redis.call('HGET', key.withdrawn, member))
    if not times then
      kept[#kept + 1] = member
    elseif times > 1 then
      redis.call('HINCRBY', key.withdrawn, member, -1)
    else
      redis.call('HDEL', key.withdrawn, member)
    end
  end
  return kept
end

-- Returns the first members, by member the number of those that have been fetched before, and the places in `ahead`.
local function pop(key, limit)
  local members, numbers, places = {}, {}, {}
  local popped = redis.call('ZPOPMIN', key.ahead, limit)
  for i = 1, #popped, 2 do
    local member, sequence = popped[i], tonumber(popped[i + 1]) % STEP
    members[#members + 1] = member
    places[member] = popped[i + 1]
    if sequence < NEW then
      numbers[member] = sequence
    end
  end
  for _ = 1, ROUNDS do
    popped = #members < limit and redis.call('LPOP', key.line, limit - #members)
    if not popped then
      break
    end
    if redis.call('EXISTS', key.withdrawn) == 1 then
      popped = without_withdrawn(key, popped)
    end
    for _, member in ipairs(popped) do
      members[#members + 1] = member
    end
  end
  return members, numbers, places
end

-- As many suspects as may be lent join those that are ahead, so that each comes when it is its turn.
local function admit_suspects(key, limit)
  local admitted = redis.call('ZRANGE', key.suspects, 0, math.min(limit, suspects_left) - 1, 'WITHSCORES')
  for i = 1, #admitted, 2 do
    redis.call('ZADD', key.ahead, admitted[i + 1], admitted[i])
  end
  return admitted
end

-- Those whose turn it was are taken; the others go on standing apart.
local function dismiss_suspects(key, admitted)
  for i = 1, #admitted, 2 do
    if redis.call('ZREM', key.ahead, admitted[i]) == 0 then
      redis.call('ZREM', key.suspects, admitted[i])
      suspects_left = suspects_left - 1
    end
  end
end

-- LATER: with_uniques(give_back) uniques
-- LATER: with_limits(take_limited next_turn share_due) terms grants holders admitting groups lanes limited

-- Returns what is told of members apart: their crashes, and whether they were granted terms; 0: nothing.
local function facts_of(key, members, granted)
  if #members == 0 or not (has_crashes or granted and next(granted)) then
    return 0
  end
  local facts, count = {}, #members
  local crashes = has_crashes and redis.call('HMGET', key.crashes, unpack(members)) or {}
  for i, member in ipairs(members) do
    facts[i] = told_of(crashes[i])
    facts[count + i] = granted and granted[member] and 1 or 0
  end
  return facts
end

local function take(key, limit)
  local members, numbers, granted
  if limits then
    members, numbers, granted = limits.take_limited(key, limit)
  else
    local admitted = has_crashes and suspects_left > 0 and admit_suspects(key, limit) or {}
    members, numbers = pop(key, limit)
    dismiss_suspects(key, admitted)
  end
  local bodies, tokens = {}, {}
  if #members > 0 then
    members, bodies, tokens = lend(key.number, members, numbers)
  end
  if uniquely and #members > 0 then
    uniquely.give_back(ids_of(members), string.match(key.uniques, '^{.*}') .. ':unique:', key.uniques, 's')
  end
  return facts_of(key, members, granted), members, bodies, tokens
end

if refusal then
  return refuse()
end
local crashes, uniques, terms, kept_apart = {}, {}, {}, {}
for q = done + 1, #KEYS do
  local key = names_of(q)
  for list, name in pairs({[crashes] = key.crashes, [uniques] = key.uniques, [terms] = key.terms}) do
    list[#list + 1] = name
    kept_apart[#kept_apart + 1] = name
  end
end
if redis.call('EXISTS', unpack(kept_apart)) > 0 then
  has_crashes = redis.call('EXISTS', unpack(crashes)) > 0
  uniquely = redis.call('EXISTS', unpack(uniques)) > 0 and with_uniques()
  limits = redis.call('EXISTS', unpack(terms)) > 0 and with_limits()
end

for q = done + 1, #KEYS do
  local key, limit = names_of(q), math.min(left, tonumber(ARGV[4 + q]))
  local ms = promote(key)
  local facts, members, bodies, tokens = 0, {}, {}, {}
  if limit > 0 then
    facts, members, bodies, tokens = take(key, limit)
    left = left - #members
  end
  local turn_ms = limits and limits.next_turn(key)
  ms = turn_ms and math.min(ms or turn_ms, turn_ms) or ms
  if ms == 0 or redis.call('EXISTS', key.line, key.ahead, key.lanes) > 0 then
    ring(key.wake) -- there is more: the next that wakes wakes the one after it
  elseif #members > 0 or limits then
    redis.call('DEL', key.wake)
  end
  if has_crashes and redis.call('EXISTS', key.suspects) == 1 then
    ring(key.wake_suspects)
  elseif has_crashes then
    redis.call('DEL', key.wake_suspects)
  end
  append(reply, ms, facts, members, bodies, tokens)
end
return reply
