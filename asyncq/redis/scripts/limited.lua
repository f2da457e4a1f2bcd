-- How calls are fetched of which some may need what limits grant, for fetch.lua.

-- Let the heads of lines go whose time has come, which take turns; no more than `most`. They join `members`.
local function serve_lines(key, most, members, numbers, granted)
  local prefix, count = prefix_by(key.messages, 'messages'), 0
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
  local prefix, ids = prefix_by(key.messages, 'messages'), ids_of(popped)
  local place_of = newest_place(prefix)
  local has_lines = redis.call('EXISTS', key.turns) == 1
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
