-- How groups take turns, for the scripts that name this file (behind queue.lua and terms.lua).
--
-- What is ready and has a group stands in a lane of its queue, and what waits in the line of a limit in a lane of that
-- line. OF is the count of the limit; empty: of the queue. `lanes:OF` (`lanes`) holds the groups whose lanes are not empty
-- by their turns: the first is served and goes to the end. Its member '' are all calls without a group, which stand where
-- they would without any lanes, in `line` and `ahead`, or in `turn:OF`: who puts them there need not know of lanes, and
-- it joins when it is looked for. `laned` are the lines that have lanes.
--
-- A place in a lane is the us at which a call became ready, less a minute for each step of its priority; below 0 are those
-- that were handed back, by priority, then by the number under which they were first fetched.

local PRIORITY_STEP_US = 60 * 1000000

local function group_in(text)
  return text and string.find(text, '"group":', 1, true) and read_terms(text).group or ''
end

local function lanes_of(prefix, of)
  return prefix .. (of == '' and 'lanes' or 'lanes:' .. of)
end

local function lane_of(prefix, of, group)
  return prefix .. 'lane:' .. #of .. ':' .. of .. group
end

local function last_turn(lanes)
  return tonumber(redis.call('ZRANGE', lanes, -1, -1, 'WITHSCORES')[2] or 0)
end

-- Have a lane take turns with the others, behind them, if it does not.
local function join_lanes(prefix, of, group)
  local lanes = lanes_of(prefix, of)
  if not redis.call('ZSCORE', lanes, group) then
    redis.call('ZADD', lanes, last_turn(lanes) + 1, group)
    if of ~= '' then
      redis.call('SADD', prefix .. 'laned', of)
    end
  end
end

-- Where none but those without a group are left there are no lanes.
local function clear_lanes(prefix, of)
  local lanes = lanes_of(prefix, of)
  local first = redis.call('ZRANGE', lanes, 0, 1)
  if first[1] == '' and not first[2] then
    redis.call('DEL', lanes)
    first = {}
  end
  if of ~= '' and not first[1] then
    redis.call('SREM', prefix .. 'laned', of)
  end
end

-- Let calls leave a lane of which some stand there. Returns how many.
local function leave_lane(prefix, of, group, members)
  local lane = lane_of(prefix, of, group)
  local count = redis.call('ZREM', lane, unpack(members))
  if count > 0 and redis.call('EXISTS', lane) == 0 then
    redis.call('ZREM', lanes_of(prefix, of), group)
    clear_lanes(prefix, of)
  end
  return count
end

local moment = nil

-- Returns the place of one that becomes ready now. A script takes longer than a us for each of these.
local function newest_in_lane(member)
  if not moment then
    local time = redis.call('TIME')
    moment = time[1] * 1000000 + time[2]
  end
  moment = moment + 1
  return moment - PRIORITY_STEP_US * (string.byte(member) - 48)
end

-- Returns the place of one that was handed back, by the number in its token.
local function returned_in_lane(member, number)
  return number - STEP * (string.byte(member) - 47)
end

-- Returns the number under which one was fetched that was handed back; nil: it was not.
local function number_in_lane(place)
  return tonumber(place) < 0 and tonumber(place) % STEP or nil
end

-- Returns the place in a lane of one that has stood in a set that is ordered as `ahead` is.
local function lane_place(member, ranked)
  local number = tonumber(ranked) % STEP
  return number < NEW and returned_in_lane(member, number) or newest_in_lane(member)
end

-- Returns where one stands in a set that is ordered as `ahead` is that has stood in a lane.
local function ranked_place(prefix, member, place)
  return rank(member, number_in_lane(place) or NEW + redis.call('INCR', prefix .. 'sequence'))
end

-- Let those of the ready ones that have groups stand in the lanes of their queue; returns the rest. `place_of` is called
-- with each and its group.
local function stand_in_lanes(prefix, members, groups, place_of)
  local rest, ranked, order = {}, {}, {}
  for _, member in ipairs(members) do
    local group = groups[member] or ''
    if group == '' then
      rest[#rest + 1] = member
    else
      if not ranked[group] then
        ranked[group] = {}
        order[#order + 1] = group
      end
      local entries = ranked[group]
      entries[#entries + 1] = place_of(member, group)
      entries[#entries + 1] = member
    end
  end
  for _, group in ipairs(order) do
    redis.call('ZADD', lane_of(prefix, '', group), unpack(ranked[group]))
    join_lanes(prefix, '', group)
  end
  return rest
end
