-- KEYS: crashes suspects ahead wake
-- USES: queue suspects
-- FLAGS: allow-oom
-- ARGV: name of a consumer that was taken for dead and was not; then members that it held
-- Takes back the crashes that were counted in its name. What is no suspect any more stands among the others again.
local name, is_any_cleared = ARGV[1], false
for i = 2, #ARGV do
  local member = ARGV[i]
  local times, names = string.match(redis.call('HGET', crashes, member) or '0 ', '^(%d+) (.*)$')
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
      redis.call('ZADD', ahead, place, member)
      is_any_cleared = true
    end
  end
end
if is_any_cleared then
  ring(wake)
end
return 0
