-- KEYS* consumer messages line ahead due suspects running crashes withdrawn wake wake_suspects sequence uniques unique turns terms
-- USES: queue suspects uniques terms grants holders admitting lanes
-- FLAGS: allow-oom
-- ARGV: name of the consumer, number of this fetch, how many in all, how many suspects among them; then of each queue
--       how many at most
-- Returns -1: the consumer is no member (any more); -2: this fetch was given up. Else
--       {ms until the next message is due, or the line of a limit (-1: none), number of its queue from 1,
--        then of each queue: its members, their bodies, their tokens, their crashes (none: all 0), negative if some are in a name, and 1 for those
--        that were granted terms (none: none was)}.
local WIDTH, PROMOTED_AT_ONCE, ROUNDS, MOVES = 16, 1000, 10, 500
local name, number, left, suspects_left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now, next_due, next_queue = nil, -1, 0
local has_crashes = false -- without any, nothing is looked up that has to do with suspects
local has_terms = false -- the same of limits
local has_uniques = false -- and of unique keys

-- `prefix` begins the tokens. Places are numbered by queue, so the number of the fetch is followed by three digits of its
-- queue's: no two deliveries of a consumer have the same token.
local function names_of(q)
  local at = (q - 1) * WIDTH
  return {
    prefix = name .. '/' .. ARGV[2] .. string.format('%03d', q) .. '/',
    messages = KEYS[at + 2], line = KEYS[at + 3], ahead = KEYS[at + 4], due = KEYS[at + 5], suspects = KEYS[at + 6],
    running = KEYS[at + 7], crashes = KEYS[at + 8], withdrawn = KEYS[at + 9], wake = KEYS[at + 10],
    wake_suspects = KEYS[at + 11], sequence = KEYS[at + 12], uniques = KEYS[at + 13], unique = KEYS[at + 14],
    turns = KEYS[at + 15], terms = KEYS[at + 16], start = prefix_by(KEYS[at + 2], 'messages'),
  }
end

-- A consumer that may not fetch has eaten the token that woke it: somebody else has to see what there is.
local function refuse(code)
  for q = 1, #KEYS / WIDTH do
    local key = names_of(q)
    if redis.call('EXISTS', key.line, key.ahead, key.due, key.turns) > 0 then
      ring(key.wake)
    end
    if redis.call('EXISTS', key.suspects) == 1 then
      ring(key.wake_suspects)
    end
  end
  return code
end

-- Let what is due line up; returns the ms until the next, nil: there is none.
local function promote(key)
  local first = redis.call('ZRANGE', key.due, 0, 0, 'WITHSCORES')
  if not first[2] then
    return nil
  end
  now = now or now_ms()
  if tonumber(first[2]) <= now then
    local members = redis.call('ZRANGEBYSCORE', key.due, '-inf', now, 'LIMIT', 0, PROMOTED_AT_ONCE)
    redis.call('ZREMRANGEBYRANK', key.due, 0, #members - 1)
    if has_crashes then
      line_up_apart(members, key.line, key.ahead, key.sequence, key.crashes, key.suspects)
    else
      line_up(members, key.line, key.ahead, key.sequence)
    end
    first = redis.call('ZRANGE', key.due, 0, 0, 'WITHSCORES')
  end
  return first[2] and math.max(0, tonumber(first[2]) - now)
end

-- Drop what was withdrawn: it could not be taken out of the middle of the line. The first of equal ones is the old one.
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

-- Returns members and bodies; what has no body is dropped.
local function with_bodies(key, members)
  local ids = {}
  for i, member in ipairs(members) do
    ids[i] = string.sub(member, 2)
  end
  local kept, bodies = {}, {}
  for i, body in ipairs(redis.call('HMGET', key.messages, unpack(ids))) do
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

local function give_back_at_start(key, members)
  local ids = {}
  for i, member in ipairs(members) do
    ids[i] = string.sub(member, 2)
  end
  give_back(ids, key.unique, key.uniques, 's')
end

-- Let the heads of lines go whose time has come, which take turns; no more than `most`. They join `members`.
local function serve_lines(key, most, members, numbers, granted)
  local prefix, count = key.start, 0
  for move = 1, MOVES do
    local first = count < most and redis.call('ZRANGE', key.turns, 0, 0, 'WITHSCORES') or {}
    if not first[2] or tonumber(first[2]) >= now + 1 then
      return
    end
    local of = first[1]
    local head = redis.call('ZRANGE', prefix .. 'turn:' .. of, 0, 0, 'WITHSCORES')
    local member, place = head[1], head[2]
    if not member then
      return redis.call('ZREM', key.turns, of) -- nobody stands there: it must not be in everybody's way
    end
    local text = redis.call('HGET', key.terms, string.sub(member, 2))
    local is_suspect = has_crashes and times_in(redis.call('HGET', key.crashes, member)) >= SUSPECT_CRASHES
    if is_suspect and suspects_left <= 0 then
      leave_line_of(prefix, of, member)
      redis.call('ZADD', key.suspects, place, member)
    else
      local terms = text and read_terms(text) or {}
      local lacking, at = admit(terms, holder_of(prefix, member), nil, now)
      if not lacking then
        leave_line_of(prefix, of, member)
        redis.call('ZADD', key.turns, 'XX', now + move / 1000, of)
        members[#members + 1] = member
        granted[member] = #terms > 0
        forget_expiry(terms, key.terms, string.sub(member, 2), text)
        local number = tonumber(place) % STEP
        numbers[member] = number < NEW and number or nil
        suspects_left = suspects_left - (is_suspect and 1 or 0)
        count = count + 1
      elseif lacking == of then
        redis.call('ZADD', key.turns, at, of)
      else
        leave_line_of(prefix, of, member)
        redis.call('ZADD', key.turns, 'XX', now + move / 1000, of)
        stand_in_line(prefix, lacking, member, place, at)
      end
    end
  end
end

-- Of these, let those join `members` that lack nothing; the others stand in line.
local function admit_some(key, popped, places, members, granted)
  local prefix, place_of, ids = key.start, newest_place(key.start), {}
  local has_lines = redis.call('EXISTS', key.turns) == 1
  for i, member in ipairs(popped) do
    ids[i] = string.sub(member, 2)
  end
  for i, text in ipairs(redis.call('HMGET', key.terms, unpack(ids))) do
    local member = popped[i]
    local function place()
      return places[member] or place_of(member)
    end
    if not text then
      members[#members + 1] = member
    elseif not has_lines or #join_lines(prefix, {member}, place) > 0 then
      local terms = read_terms(text)
      local lacking, at = admit(terms, holder_of(prefix, member), nil, now)
      if lacking then
        stand_in_line(prefix, lacking, member, place(), at)
        has_lines = true
      else
        members[#members + 1] = member
        granted[member] = #terms > 0
        forget_expiry(terms, key.terms, ids[i], text)
      end
    end
  end
end

-- A suspect that stands in line now was not taken: another may be, or it itself by its line.
local function give_back_allowance(admitted, popped, members, before)
  if #admitted == 0 then
    return
  end
  local is_here = {}
  for _, member in ipairs(popped) do
    is_here[member] = true
  end
  for i = before + 1, #members do
    is_here[members[i]] = nil
  end
  for i = 1, #admitted, 2 do
    if is_here[admitted[i]] then
      suspects_left = suspects_left + 1
    end
  end
end

-- Take up to so many, of which some may need what limits grant: lines whose time has come have up to half, where there
-- are others.
local function take_limited(key, limit)
  local members, numbers, granted = {}, {}, {}
  now = now or now_ms()
  local has_others = redis.call('EXISTS', key.line, key.ahead) > 0
  serve_lines(key, has_others and math.ceil(limit / 2) or limit, members, numbers, granted)
  for _ = 1, ROUNDS do
    local left_here = limit - #members
    if left_here <= 0 then
      break
    end
    local admitted = has_crashes and suspects_left > 0 and admit_suspects(key, left_here) or {}
    local popped, further, places = pop(key, left_here)
    dismiss_suspects(key, admitted)
    if #popped == 0 then
      break
    end
    for member, number in pairs(further) do
      numbers[member] = number
    end
    local before = #members
    admit_some(key, popped, places, members, granted)
    give_back_allowance(admitted, popped, members, before)
  end
  serve_lines(key, limit - #members, members, numbers, granted)
  return members, numbers, granted
end

-- Returns the ms until the first line is to be asked for, nil: there is none, or only a freed slot can help.
local function next_turn(key)
  local first = redis.call('ZRANGE', key.turns, 0, 0, 'WITHSCORES')[2]
  if first and first ~= 'inf' then
    now = now or now_ms()
    return math.max(0, math.floor(tonumber(first) - now))
  end
end

local function take(key, limit)
  local members, numbers, granted
  if has_terms then
    members, numbers, granted = take_limited(key, limit)
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
  if has_uniques then
    give_back_at_start(key, kept)
  end
  local marks = {}
  for i, member in ipairs(granted and next(granted) and kept or {}) do
    marks[i] = granted[member] and 1 or 0
  end
  return kept, bodies, tokens, crashes, marks
end

local memberships, places, crashes, uniques, terms, kept_apart = {}, {}, {}, {}, {}, {}
for q = 1, #KEYS / WIDTH do
  local at = (q - 1) * WIDTH
  memberships[q] = KEYS[at + 1] .. name
  crashes[q], uniques[q], terms[q] = KEYS[at + 8], KEYS[at + 13], KEYS[at + 16]
  for _, marker in ipairs({crashes[q], uniques[q], terms[q]}) do
    kept_apart[#kept_apart + 1] = marker
  end
  places[#places + 1] = KEYS[at + 15]
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
  return {-1, 0}
end
if redis.call('EXISTS', unpack(kept_apart)) > 0 then
  has_crashes = redis.call('EXISTS', unpack(crashes)) > 0
  has_uniques = redis.call('EXISTS', unpack(uniques)) > 0
  has_terms = redis.call('EXISTS', unpack(terms)) > 0
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
  local turn_ms = has_terms and next_turn(key)
  ms = turn_ms and math.min(ms or turn_ms, turn_ms) or ms
  if ms and (next_due < 0 or ms < next_due) then
    next_due, next_queue = ms, q
  end
  if ms == 0 or redis.call('EXISTS', key.line, key.ahead) > 0 then
    ring(key.wake) -- there is more: the next that wakes wakes the one after it
  elseif #members > 0 or has_terms then
    redis.call('DEL', key.wake)
  end
  if has_crashes and redis.call('EXISTS', key.suspects) == 1 then
    ring(key.wake_suspects)
  elseif has_crashes then
    redis.call('DEL', key.wake_suspects)
  end
  for _, list in ipairs({members, bodies, tokens, crashes, marks}) do
    reply[#reply + 1] = list
  end
end
return {next_due, next_queue, unpack(reply)}
