-- How a consumer loses what it holds, for the scripts that name this file.
--
-- ARGV: name of a consumer, and what became of it: `died`, `silent`, `left`, or the lowest number that a fetch of it may
--       have from now on; then, of one that lives, where to go on, which begins at 0, and the tokens of what it holds and
--       keeps
--
-- Of one that lives it is done in steps, so that others' commands come between: after a failover every worker does it, and
-- looks through all that the others hold. Of one that is gone it is done at once: half of it must not be forgotten with it.

local LOOKED_AT = 5000

-- `give_back` is called with the member and the token of each. Returns how many it was, and where to go on; 0: that was all.
local function disown(consumer, running, crashes, give_back)
  local name, what = ARGV[1], ARGV[2]
  local lowest, prefix, kept = tonumber(what), name .. '/', {}

  -- A fetch that it gave up may still be on its way to the server: from now on it finds that it is out.
  if lowest then
    redis.call('SET', consumer .. name, lowest, 'XX')
  else
    redis.call('DEL', consumer .. name)
  end
  for i = 4, #ARGV do
    kept[ARGV[i]] = true
  end

  local step = lowest and redis.call('HSCAN', running, ARGV[3], 'COUNT', LOOKED_AT) or {'0', redis.call('HGETALL', running)}
  local count, go_on, held = 0, step[1], step[2]
  for i = 1, #held, 2 do
    local member, token = held[i], held[i + 1]
    local is_its_own = string.sub(token, 1, #prefix) == prefix and string.find(token, '^%d+/%d+$', #prefix + 1)
    if is_its_own and not kept[token] and redis.call('HDEL', running, member) == 1 then
      if what == 'died' or what == 'silent' then
        count_crash(crashes, member, what == 'silent' and name)
      end
      give_back(member, token)
      count = count + 1
    end
  end
  return {count, go_on}
end
