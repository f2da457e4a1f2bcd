-- How suspects stand apart, for the scripts that name this file: ready messages with SUSPECT_CRASHES on their count (the
-- number is that of asyncq/transport/delivery.py).
--
-- A consumer takes few of them at a time. `suspects` orders them as `ahead` does its own. `crashes` holds how many
-- crashes there were and, after a space, a line for each consumer that was taken for dead: the last 100.

local SUSPECT_CRASHES = 2

local function times_in(crash)
  return tonumber(string.match(crash or '0', '^%d+'))
end

-- Returns what a consumer is told: how many crashes, below 0 if some are in a name; false: none.
local function told_of(crash)
  local times, name = string.match(crash or '', '^(%d+) (.?)')
  return times and (name == '' and times or '-' .. times) or false -- a nil would end the reply
end

-- Part members into innocent ones and suspects.
local function sift(members, crashes)
  if redis.call('EXISTS', crashes) == 0 then
    return members, {}
  end
  local innocent, suspected = {}, {}
  for i, crash in ipairs(redis.call('HMGET', crashes, unpack(members))) do
    local list = times_in(crash) >= SUSPECT_CRASHES and suspected or innocent
    list[#list + 1] = members[i]
  end
  return innocent, suspected
end

-- Let new messages line up, suspects apart; returns whether there are innocent ones, and whether suspects.
local function line_up_apart(members, line, ahead, sequences, crashes, suspects)
  local innocent, suspected = sift(members, crashes)
  line_up(innocent, line, ahead, sequences)
  stand_in(suspected, suspects, sequences)
  return #innocent > 0, #suspected > 0
end
