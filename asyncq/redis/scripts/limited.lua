-- How calls are fetched of which some may need what limits grant, or have groups, for fetch.lua.

local has_lined_lanes -- some line of this queue has lanes

-- Returns the first who stands in a line, its place and its group.
local function head_of_line(prefix, of)
  local group = has_lined_lanes and redis.call('ZRANGE', lanes_of(prefix, of), 0, 0)[1]
  if group then
    if has_plain(prefix, of) then
      join_lanes(prefix, of, '')
    elseif group == '' then
      redis.call('ZREM', lanes_of(prefix, of), '')
      group = redis.call('ZRANGE', lanes_of(prefix, of), 0, 0)[1]
    end
  end
  local head = redis.call('ZRANGE', part_of_line(prefix, of, group or ''), 0, 0, 'WITHSCORES')
  return head[1], head[2], group or ''
end

-- Let the first leave its line, whose lane has had its turn.
local function leave_line_in_turn(prefix, of, member, group)
  leave_line_of(prefix, of, member, group)
  if has_lined_lanes then
    local lanes = lanes_of(prefix, of)
    redis.call('ZADD', lanes, 'XX', last_turn(lanes) + 1, group)
  end
end

local function stand_in_line_of(prefix, of, member, place, at, group)
  has_lined_lanes = has_lined_lanes or group ~= ''
  if group == '' and has_lined_lanes and redis.call('EXISTS', lanes_of(prefix, of)) == 1 then
    join_lanes(prefix, of, '')
  end
  return stand_in_line(prefix, of, member, place, at, group)
end

-- Returns the number under which one was fetched that was handed back; nil: it was not.
local function number_at(place, group)
  if group ~= '' then
    return number_in_lane(place)
  end
  local number = tonumber(place) % STEP
  return number < NEW and number or nil
end

-- Let the heads of lines go whose time has come, which take turns; no more than `most`. They join `members`.
local function serve_lines(key, most, members, numbers, granted)
  local prefix, count = prefix_by(key.messages, 'messages'), 0
  for move = 1, MOVES do
    local first = count < most and redis.call('ZRANGE', key.turns, 0, 0, 'WITHSCORES') or {}
    if not first[2] or tonumber(first[2]) >= now + 1 then
      return
    end
    local of = first[1]
    local member, place, group = head_of_line(prefix, of)
    if not member then
      return redis.call('ZREM', key.turns, of) -- nobody stands there: it must not be in everybody's way
    end
    local text = redis.call('HGET', key.terms, string.sub(member, 2))
    local is_suspect = has_crashes and times_in(redis.call('HGET', key.crashes, member)) >= SUSPECT_CRASHES
    if is_suspect and suspects_left <= 0 then
      leave_line_in_turn(prefix, of, member, group)
      redis.call('ZADD', key.suspects, group == '' and place or ranked_place(prefix, member, place), member)
    else
      local terms = text and read_terms(text) or {}
      local lacking, at = admit(terms, holder_of(prefix, member), nil, now)
      if not lacking then
        leave_line_in_turn(prefix, of, member, group)
        redis.call('ZADD', key.turns, 'XX', now + move / 1000, of)
        members[#members + 1] = member
        granted[member] = #terms > 0
        forget_expiry(terms, key.terms, string.sub(member, 2), text)
        numbers[member] = number_at(place, group)
        suspects_left = suspects_left - (is_suspect and 1 or 0)
        count = count + 1
      elseif lacking == of then
        redis.call('ZADD', key.turns, at, of)
      else
        leave_line_in_turn(prefix, of, member, group)
        redis.call('ZADD', key.turns, 'XX', now + move / 1000, of)
        stand_in_line_of(prefix, lacking, member, place, at, group)
      end
    end
  end
end

-- Of these, let those join `members` that lack nothing; the others stand in line. `in_lanes` are the places of those that
-- stood in lanes.
local function admit_some(key, popped, places, in_lanes, members, granted)
  local prefix, ids = prefix_by(key.messages, 'messages'), ids_of(popped)
  local place_of = newest_place(prefix)
  local has_lines = redis.call('EXISTS', key.turns) == 1
  for i, text in ipairs(redis.call('HMGET', key.terms, unpack(ids))) do
    local member = popped[i]
    local function place(_, group)
      if group == '' then
        return places[member] or place_of(member, group)
      end
      has_lined_lanes = true -- whoever asks for its place has it stand there
      return in_lanes[member] or places[member] and lane_place(member, places[member]) or newest_in_lane(member)
    end
    if not text then
      members[#members + 1] = member
    elseif not has_lines or #join_lines(prefix, {member}, place) > 0 then
      local terms = read_terms(text)
      local lacking, at = admit(terms, holder_of(prefix, member), nil, now)
      if lacking then
        local group = terms.group or ''
        stand_in_line_of(prefix, lacking, member, place(member, group), at, group)
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

-- Take the first of the lanes, which take turns. Returns what `pop` does, and the places of those that stood in lanes.
local function pop_in_turn(key, limit)
  local prefix = prefix_by(key.messages, 'messages')
  local members, numbers, places, in_lanes, is_any_empty = {}, {}, {}, {}, false
  if has_plain(prefix, '') then
    join_lanes(prefix, '', '')
  end
  for _ = 1, ROUNDS do
    local left_here = limit - #members
    local lanes = left_here > 0 and redis.call('ZRANGE', key.lanes, 0, left_here - 1) or {}
    if #lanes == 0 then
      break
    end
    local each, last, taken = math.max(1, math.floor(left_here / #lanes)), last_turn(key.lanes), {}
    for i, group in ipairs(lanes) do
      local is_left
      if group == '' then
        local further, ranked
        taken[i], further, ranked = pop(key, each)
        for _, member in ipairs(taken[i]) do
          numbers[member], places[member] = further[member], ranked[member]
        end
        is_left = redis.call('EXISTS', key.line, key.ahead) > 0
      else
        local lane = lane_of(prefix, '', group)
        local popped = redis.call('ZPOPMIN', lane, each)
        taken[i] = {}
        for j = 1, #popped, 2 do
          taken[i][#taken[i] + 1] = popped[j]
          in_lanes[popped[j]], numbers[popped[j]] = popped[j + 1], number_in_lane(popped[j + 1])
        end
        is_left = redis.call('EXISTS', lane) == 1
      end
      if is_left then
        redis.call('ZADD', key.lanes, last + i, group)
      else
        redis.call('ZREM', key.lanes, group)
        is_any_empty = true
      end
    end
    for n = 1, each do
      for i = 1, #lanes do
        members[#members + 1] = taken[i][n]
      end
    end
  end
  if is_any_empty then
    clear_lanes(prefix, '')
  end
  return members, numbers, places, in_lanes
end

-- Take up to so many, of which some may need what limits grant: lines whose time has come have up to half, where there
-- are others.
local function take_limited(key, limit)
  local members, numbers, granted = {}, {}, {}
  now = now or now_ms()
  -- What is named more than once is counted so often: one question tells of all.
  local lanes, laned = key.lanes, prefix_by(key.messages, 'messages') .. 'laned'
  local found = redis.call('EXISTS', key.line, key.ahead, lanes, lanes, lanes, laned, laned, laned, laned, laned, laned)
  local has_others, has_lanes = found % 6 > 0, found % 6 >= 3
  has_lined_lanes = found >= 6
  serve_lines(key, has_others and math.ceil(limit / 2) or limit, members, numbers, granted)
  for _ = 1, ROUNDS do
    local left_here = limit - #members
    if left_here <= 0 then
      break
    end
    local admitted = has_crashes and suspects_left > 0 and admit_suspects(key, left_here) or {}
    local popped, further, places, in_lanes = (has_lanes and pop_in_turn or pop)(key, left_here)
    dismiss_suspects(key, admitted)
    if #popped == 0 then
      break
    end
    for member, number in pairs(further) do
      numbers[member] = number
    end
    local before = #members
    admit_some(key, popped, places, in_lanes or {}, members, granted)
    give_back_allowance(admitted, popped, members, before)
  end
  serve_lines(key, limit - #members, members, numbers, granted)
  return members, numbers, granted
end

-- Let those that are due, have groups and are no suspects join their lanes; returns the rest, and whether there were any.
local function share_due(key, members)
  local innocent, rest = members, {}
  if has_crashes then
    innocent, rest = sift(members, key.crashes)
  end
  local groups = {}
  for i, text in ipairs(#innocent > 0 and redis.call('HMGET', key.terms, unpack(ids_of(innocent))) or {}) do
    groups[innocent[i]] = group_in(text)
  end
  local plain = stand_in_lanes(prefix_by(key.messages, 'messages'), innocent, groups, newest_in_lane)
  local have_groups = #plain < #innocent
  for _, member in ipairs(rest) do
    plain[#plain + 1] = member
  end
  return plain, have_groups
end

-- Returns the ms until the first line is to be asked for, nil: there is none, or only a freed slot can help.
local function next_turn(key)
  local first = redis.call('ZRANGE', key.turns, 0, 0, 'WITHSCORES')[2]
  if first and first ~= 'inf' then
    now = now or now_ms()
    return math.max(0, math.floor(tonumber(first) - now))
  end
end
