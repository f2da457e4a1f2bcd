-- KEYS: crashes suspects ahead wake terms
-- USES: queue suspects terms groups
-- FLAGS: allow-oom
-- ARGV: name of a consumer that was taken for dead and was not, where to go on, which begins at 0
-- Takes back the crashes that were counted in its name. What is no suspect any more stands among the others again.
-- Returns where to go on; 0: that was all. It is done in steps, so that others' commands come between.
local LOOKED_AT = 1000
local name, is_any_cleared = ARGV[1], false
local step = redis.call('HSCAN', crashes, ARGV[2], 'COUNT', LOOKED_AT)
for i = 1, #step[2], 2 do
  local member, crash = step[2][i], step[2][i + 1]
  local times, names = string.match(crash, '^(%d+) (.*)$')
  local start, stop = string.find('\n' .. names, '\n' .. name .. '\n', 1, true)
  if start then
    times = times - 1
    if times > 0 then
      redis.call('HSET', crashes, member, times .. ' ' .. string.sub(names, 1, start - 1) .. string.sub(names, stop))
    else
      redis.call('HDEL', crashes, member)
    end
    local place = times < SUSPECT_CRASHES and redis.call('ZSCORE', suspects, member)
    if place then
      redis.call('ZREM', suspects, member)
      local group = group_in(redis.call('HGET', terms, string.sub(member, 2)))
      if group == '' then
        redis.call('ZADD', ahead, place, member)
      else
        stand_in_lanes(prefix_by(crashes, 'crashes'), {member}, {[member] = group}, function()
          return lane_place(member, place)
        end)
      end
      is_any_cleared = true
    end
  end
end
if is_any_cleared then
  ring(wake)
end
return step[1]
