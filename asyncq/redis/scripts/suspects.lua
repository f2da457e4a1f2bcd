-- How suspects stand apart, for the scripts that name this file: ready messages with a crash on their count.
--
-- A consumer takes few of them at a time. `suspects` orders them as `ahead` does its own. `crashes` holds how many
-- crashes there were and, after a space, in whose name the last one was counted; empty: in nobody's.

local function count_crash(crashes, member, name)
  local times = string.match(redis.call('HGET', crashes, member) or '0', '^%d+') + 1
  redis.call('HSET', crashes, member, times .. ' ' .. name)
end

-- Part members into innocent ones and suspects.
local function sift(members, crashes)
  if redis.call('EXISTS', crashes) == 0 then
    return members, {}
  end
  local innocent, suspected = {}, {}
  for i, crash in ipairs(redis.call('HMGET', crashes, unpack(members))) do
    local list = crash and suspected or innocent
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

local function stand_again(members, tokens, set)
  local ranked = {}
  for i, member in ipairs(members) do
    ranked[2 * i - 1] = rank(member, tonumber(string.match(tokens[member], '%d+$')))
    ranked[2 * i] = member
  end
  if #ranked > 0 then
    redis.call('ZADD', set, unpack(ranked))
  end
end

-- Put messages back in their old places, by the numbers in their tokens; returns what `line_up_apart` does.
local function put_back(members, tokens, ahead, crashes, suspects)
  local innocent, suspected = sift(members, crashes)
  stand_again(innocent, tokens, ahead)
  stand_again(suspected, tokens, suspects)
  return #innocent > 0, #suspected > 0
end
