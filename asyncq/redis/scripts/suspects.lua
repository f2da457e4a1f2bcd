-- How suspects stand apart, for the scripts that name this file: ready messages with a crash on their count.
--
-- A consumer takes few of them at a time. `suspects` orders them as `ahead` does its own. `crashes` holds how many
-- crashes there were and, after a space, in whose name the last one was counted; empty: in nobody's.

local function count_crash(crashes, member, name)
  local times = string.match(redis.call('HGET', crashes, member) or '0', '^%d+') + 1
  redis.call('HSET', crashes, member, times .. ' ' .. name)
end

-- Let new messages line up, suspects apart; returns whether there are innocent ones, and whether suspects.
local function line_up_apart(members, line, ahead, sequences, crashes, suspects)
  local innocent, suspected = {}, {}
  for i, crash in ipairs(redis.call('HMGET', crashes, unpack(members))) do
    local list = crash and suspected or innocent
    list[#list + 1] = members[i]
  end
  line_up(innocent, line, ahead, sequences)
  stand_in(suspected, suspects, sequences)
  return #innocent > 0, #suspected > 0
end

-- Put a message back in its old place, by the number in its token; returns whether it is a suspect.
local function put_back(member, token, ahead, crashes, suspects)
  local is_suspect = redis.call('HEXISTS', crashes, member) == 1
  redis.call('ZADD', is_suspect and suspects or ahead, rank(member, tonumber(string.match(token, '%d+$'))), member)
  return is_suspect
end
