-- How messages come back that were lent and have not ended, for the scripts that name this file.

local MAX_NAMES = 100

-- Count a crash, in the name of a consumer that was taken for dead; nil or false: in nobody's, for it is certain.
local function count_crash(crashes, member, name)
  local times, names = string.match(redis.call('HGET', crashes, member) or '0 ', '^(%d+) (.*)$')
  if name then
    local _, count = string.gsub(names, '\n', '')
    names = (count < MAX_NAMES and names or string.match(names, '^[^\n]*\n(.*)$')) .. name .. '\n'
  end
  redis.call('HSET', crashes, member, times + 1 .. ' ' .. names)
end

-- Put messages back in their old places, by the numbers in their tokens, suspects apart; returns whether there are
-- innocent ones, and whether suspects.
local function put_back(members, tokens, ahead, crashes, suspects)
  local innocent, suspected = sift(members, crashes)
  for set, group in pairs({[ahead] = innocent, [suspects] = suspected}) do
    local ranked = {}
    for i, member in ipairs(group) do
      ranked[2 * i - 1] = rank(member, tonumber(string.match(tokens[member], '%d+$')))
      ranked[2 * i] = member
    end
    if #group > 0 then
      redis.call('ZADD', set, unpack(ranked))
    end
  end
  return #innocent > 0, #suspected > 0
end
