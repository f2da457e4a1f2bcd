-- The lines in which calls wait for what limits grant, for the scripts that name this file (behind groups.lua, where calls
-- may have groups).
--
-- Of a queue, `turns` holds each line's time: when it is to be asked for; `turn:OF` is the line, ordered as `ahead` is;
-- `stands` tells where each member stands. `lined` are the queues that have lines. Calls of groups stand in lanes of a
-- line; a group that is empty, or nil, is none.

local function is_group(group)
  return group and group ~= ''
end

-- Returns the set in which one stands.
local function part_of_line(prefix, of, group)
  return is_group(group) and lane_of(prefix, of, group) or prefix .. 'turn:' .. of
end

local function is_first_in_line(prefix, of, member, group)
  return redis.call('ZRANK', part_of_line(prefix, of, group), member) == 0
    and (not is_group(group) or redis.call('ZRANK', lanes_of(prefix, of), group) == 0)
end

local function stand_in_line(prefix, of, member, place, at, group)
  local turns = prefix .. 'turns'
  redis.call('ZADD', part_of_line(prefix, of, group), place, member)
  redis.call('HSET', prefix .. 'stands', member, of)
  if is_group(group) then
    join_lanes(prefix, of, group)
  end
  local time = redis.call('ZSCORE', turns, of)
  if not time then
    redis.call('ZADD', turns, at, of)
    redis.call('SADD', TAG .. ':lined', string.sub(prefix, #TAG + 4, -2))
  elseif time ~= 'inf' and is_first_in_line(prefix, of, member, group) then
    redis.call('ZADD', turns, 0, of) -- its weight may be another than that of who was first
    return true
  end
end

local function leave_line_of(prefix, of, member, group)
  local turns, line = prefix .. 'turns', prefix .. 'turn:' .. of
  redis.call('HDEL', prefix .. 'stands', member)
  if is_group(group) then
    leave_lane(prefix, of, group, {member})
  else
    redis.call('ZREM', line, member)
  end
  if redis.call('EXISTS', line, prefix .. 'lanes:' .. of) == 0 and redis.call('ZREM', turns, of) == 1 and redis.call('EXISTS', turns) == 0 then
    redis.call('SREM', TAG .. ':lined', string.sub(prefix, #TAG + 4, -2))
  end
end

-- Let one leave that ends or goes elsewhere: whoever is first by that may need less, and is asked for.
local function leave_line_to_next(prefix, of, member, group)
  local turns = prefix .. 'turns'
  local was_first = is_first_in_line(prefix, of, member, group)
  leave_line_of(prefix, of, member, group)
  local time = was_first and redis.call('ZSCORE', turns, of)
  if time and time ~= 'inf' then
    redis.call('ZADD', turns, 0, of)
    ring(prefix .. 'wake')
  end
end

-- Let those stand behind others in line who need what these wait for; returns the rest. `place_of` is called with each
-- and its group.
local function join_lines(prefix, members, place_of)
  if #members == 0 or redis.call('EXISTS', prefix .. 'turns') == 0 then
    return members
  end
  local rest, ids, is_first = {}, {}, false
  for i, member in ipairs(members) do
    ids[i] = string.sub(member, 2)
  end
  for i, text in ipairs(redis.call('HMGET', prefix .. 'terms', unpack(ids))) do
    local joined, terms = nil, text and read_terms(text) or {}
    for _, term in ipairs(terms) do
      if not joined and redis.call('ZSCORE', prefix .. 'turns', term.of) then
        joined = term.of
      end
    end
    if joined then
      local group = terms.group or ''
      is_first = stand_in_line(prefix, joined, members[i], place_of(members[i], group), nil, group) or is_first
    else
      rest[#rest + 1] = members[i]
    end
  end
  if is_first then
    ring(prefix .. 'wake')
  end
  return rest
end

-- Return the place of one that becomes ready now.
local function newest_place(prefix)
  return function(member, group)
    return group == '' and rank(member, NEW + redis.call('INCR', prefix .. 'sequence')) or newest_in_lane(member)
  end
end

-- Returns the place of one that is handed back, by the number in its token.
local function returned_place(tokens)
  return function(member, group)
    local number = tonumber(string.match(tokens[member], '%d+$'))
    return group == '' and rank(member, number) or returned_in_lane(member, number)
  end
end

-- Call the first of those who wait outside of tasks.
local function call_first(of)
  local first = redis.call('ZRANGE', TAG .. ':waiters:' .. of, 0, 0)[1]
  if first and redis.call('EXISTS', TAG .. ':call:' .. first) == 0 then
    redis.call('RPUSH', TAG .. ':call:' .. first, 1)
    redis.call('PEXPIRE', TAG .. ':call:' .. first, 60000)
  end
end

-- Have everybody asked for who waits for a count: a slot is free.
local function wake_waiters(of)
  for _, queue in ipairs(redis.call('SMEMBERS', TAG .. ':lined')) do
    local prefix = TAG .. ':q:' .. queue .. ':'
    if redis.call('ZSCORE', prefix .. 'turns', of) then
      redis.call('ZADD', prefix .. 'turns', 0, of)
      ring(prefix .. 'wake')
    end
  end
  call_first(of)
end

-- Free the slots of calls that are not lent any more. Returns the groups of those that have any.
local function free_slots(prefix, members)
  local ids, groups = {}, {}
  for i, member in ipairs(members) do
    ids[i] = string.sub(member, 2)
  end
  for i, text in ipairs(redis.call('HMGET', prefix .. 'terms', unpack(ids))) do
    local terms = text and read_terms(text) or {}
    groups[members[i]] = terms.group
    for _, term in ipairs(terms) do
      local key = TAG .. ':holders:' .. term.of
      if not term.weight and redis.call('HDEL', key, string.sub(prefix, #TAG + 4, -2) .. ' ' .. members[i]) == 1 then
        wake_waiters(term.of)
      end
    end
  end
  return groups
end

-- Have everybody asked for who waits for these limits: something has changed.
local function wake_limits(limits)
  local function is_one(of)
    return limits[string.match(of, '^%S+ %S+')]
  end
  for _, queue in ipairs(redis.call('SMEMBERS', TAG .. ':lined')) do
    local prefix, is_any = TAG .. ':q:' .. queue .. ':', false
    for _, of in ipairs(redis.call('ZRANGE', prefix .. 'turns', 0, -1)) do
      if is_one(of) then
        redis.call('ZADD', prefix .. 'turns', 0, of)
        is_any = true
      end
    end
    if is_any then
      ring(prefix .. 'wake')
    end
  end
  for _, of in ipairs(redis.call('ZRANGE', TAG .. ':waited', 0, -1)) do
    if redis.call('EXISTS', TAG .. ':waiters:' .. of) == 0 then
      redis.call('ZREM', TAG .. ':waited', of)
    elseif is_one(of) then
      call_first(of)
    end
  end
end

-- Forget one who waited outside of tasks, and call the next.
local function stop_waiting(of, waiter)
  redis.call('ZREM', TAG .. ':waiters:' .. of, waiter)
  redis.call('ZREM', TAG .. ':waiting:' .. of, waiter)
  if redis.call('EXISTS', TAG .. ':waiters:' .. of) == 0 then
    redis.call('ZREM', TAG .. ':waited', of)
  end
  call_first(of)
end
