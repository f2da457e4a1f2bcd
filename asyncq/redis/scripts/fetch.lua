-- KEYS* consumer messages line ahead due suspects running crashes withdrawn wake wake_suspects sequence uniques unique turns terms lanes
-- USES: queue suspects
-- FLAGS: allow-oom
-- ARGV: name of the consumer, number of this fetch, how many in all, how many suspects among them; then of each queue
--       how many at most
-- Returns -1: the consumer is no member (any more); -2: this fetch was given up. Else
--       of each queue, unless there is nothing in any: ms until its next message is due, or the line of a limit (-1:
--        none); its members, their bodies, their tokens, their crashes (none: all 0), negative if some are in a name, and
--        1 for those that were granted terms (none: none was).
local WIDTH, PROMOTED_AT_ONCE, PROMOTIONS_OF_GROUPS, ROUNDS, MOVES = 17, 1000, 5, 10, 500
local name, number, left, suspects_left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = nil
local has_crashes = false -- without any, nothing is looked up that has to do with suspects
local limits -- without any terms, nothing is even defined that has to do with limits
local uniquely -- nor with unique keys

-- `prefix` begins the tokens; it tells queues apart, as each numbers its places itself.
local function names_of(q)
  local at = (q - 1) * WIDTH
  return {
    prefix = name .. '/' .. ARGV[2] .. string.format('%03d', q) .. '/',
    messages = KEYS[at + 2], line = KEYS[at + 3], ahead = KEYS[at + 4], due = KEYS[at + 5], suspects = KEYS[at + 6],
    running = KEYS[at + 7], crashes = KEYS[at + 8], withdrawn = KEYS[at + 9], wake = KEYS[at + 10],
    wake_suspects = KEYS[at + 11], sequence = KEYS[at + 12], uniques = KEYS[at + 13], unique = KEYS[at + 14],
    turns = KEYS[at + 15], terms = KEYS[at + 16], lanes = KEYS[at + 17],
  }
end

-- A consumer that may not fetch has eaten the token that woke it: somebody else has to see what there is.
local function refuse(code)
  for q = 1, #KEYS / WIDTH do
    local key = names_of(q)
    if redis.call('EXISTS', key.line, key.ahead, key.due, key.turns, key.lanes) > 0 then
      ring(key.wake)
    end
    if redis.call('EXISTS', key.suspects) == 1 then
      ring(key.wake_suspects)
    end
  end
  return code
end

-- Let what is due line up; returns the ms until the next, nil: there is none. Of groups more at once: few of one would wait
-- for many fetches behind the many of another.
local function promote(key)
  local first = redis.call('ZRANGE', key.due, 0, 0, 'WITHSCORES')
  if not first[2] then
    return nil
  end
  now = now or now_ms()
  local round, have_groups = 0, true
  while first[2] and tonumber(first[2]) <= now and have_groups and round < PROMOTIONS_OF_GROUPS do
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
    first = redis.call('ZRANGE', key.due, 0, 0, 'WITHSCORES')
    round = round + 1
  end
  return first[2] and math.max(0, tonumber(first[2]) - now)
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

local function ids_of(members)
  local ids = {}
  for i, member in ipairs(members) do
    ids[i] = string.sub(member, 2)
  end
  return ids
end

-- Returns members and bodies; what has no body is dropped.
local function with_bodies(key, members)
  local kept, bodies = {}, {}
  for i, body in ipairs(redis.call('HMGET', key.messages, unpack(ids_of(members)))) do
    if body then
      kept[#kept + 1] = members[i]
      bodies[#bodies + 1] = body
    end
  end
  return kept, bodies
end

local function lend(key, members, numbers)
  local sequence = redis.call('INCRBY', key.sequence, #members) - #members
  local tokens, lent = {}, {}
  for i, member in ipairs(members) do
    tokens[i] = key.prefix .. string.format('%.0f', numbers[member] or sequence + i)
    lent[2 * i - 1] = member
    lent[2 * i] = tokens[i]
  end
  redis.call('HSET', key.running, unpack(lent))
  local crashes = has_crashes and redis.call('HMGET', key.crashes, unpack(members)) or {}
  for i, crash in ipairs(crashes) do
    crashes[i] = told_of(crash)
  end
  return tokens, crashes
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

local function take(key, limit)
  local members, numbers, granted
  if limits then
    members, numbers, granted = limits.take_limited(key, limit)
  else
    local admitted = has_crashes and suspects_left > 0 and admit_suspects(key, limit) or {}
    members, numbers = pop(key, limit)
    dismiss_suspects(key, admitted)
  end
  if #members == 0 then
    return {}, {}, {}, {}, {}
  end
  local kept, bodies = with_bodies(key, members)
  if #kept == 0 then
    return {}, {}, {}, {}, {}
  end
  local tokens, crashes = lend(key, kept, numbers)
  if uniquely then
    uniquely.give_back(ids_of(kept), key.unique, key.uniques, 's')
  end
  local marks = {}
  if granted and next(granted) then
    for i, member in ipairs(kept) do
      marks[i] = granted[member] and 1 or 0
    end
  end
  return kept, bodies, tokens, crashes, marks
end

local memberships, places, crashes, uniques, terms, kept_apart = {}, {}, {}, {}, {}, {}
for q = 1, #KEYS / WIDTH do
  local at = (q - 1) * WIDTH
  memberships[q] = KEYS[at + 1] .. name
  crashes[q], uniques[q], terms[q] = KEYS[at + 8], KEYS[at + 13], KEYS[at + 16]
  kept_apart[3 * q - 2], kept_apart[3 * q - 1], kept_apart[3 * q] = crashes[q], uniques[q], terms[q]
  places[#places + 1] = KEYS[at + 15]
  places[#places + 1] = KEYS[at + 17]
  for place = 3, suspects_left > 0 and 6 or 5 do
    places[#places + 1] = KEYS[at + place]
  end
end
for _, lowest in ipairs(redis.call('MGET', unpack(memberships))) do
  if not lowest then
    return refuse(-1)
  elseif number < tonumber(lowest) then
    return refuse(-2)
  end
end
if redis.call('EXISTS', unpack(places)) == 0 then
  return {}
end
if redis.call('EXISTS', unpack(kept_apart)) > 0 then
  has_crashes = redis.call('EXISTS', unpack(crashes)) > 0
  uniquely = redis.call('EXISTS', unpack(uniques)) > 0 and with_uniques()
  limits = redis.call('EXISTS', unpack(terms)) > 0 and with_limits()
end

local reply = {}
for q = 1, #KEYS / WIDTH do
  local key, limit = names_of(q), math.min(left, tonumber(ARGV[4 + q]))
  local ms = promote(key)
  local members, bodies, tokens, crashes, marks = {}, {}, {}, {}, {}
  if limit > 0 then
    members, bodies, tokens, crashes, marks = take(key, limit)
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
  for _, part in ipairs({ms or -1, members, bodies, tokens, crashes, marks}) do
    reply[#reply + 1] = part
  end
end
return reply
