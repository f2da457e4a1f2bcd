-- How settlements are held against what is lent, for the scripts that name this file: each is five arguments from the
-- third on, its member, its token, what becomes of it, the address to reply to, and a payload.

local WIDTH, FIRST = 5, 3

local function argument(i, field)
  return ARGV[FIRST + (i - 1) * WIDTH + field]
end

-- Acknowledge those whose token is the current one. Returns the members of all, the numbers from 1 of those that took
-- effect, and the numbers from 0 of those that took none.
local function acknowledge(count, running)
  local members, held, outdated, acknowledged, seen = {}, {}, {}, {}, {}
  for i = 1, count do
    members[i] = argument(i, 0)
  end
  for i, token in ipairs(redis.call('HMGET', running, unpack(members))) do
    if token == argument(i, 1) and not seen[members[i]] then
      seen[members[i]] = true
      held[#held + 1] = i
      acknowledged[#acknowledged + 1] = members[i]
    else
      outdated[#outdated + 1] = i - 1
    end
  end
  if #held > 0 then
    redis.call('HDEL', running, unpack(acknowledged))
  end
  return members, held, outdated
end
