-- KEYS: crashes suspects ahead wake
-- USES: queue
-- FLAGS: allow-oom
-- ARGV: name of a consumer that was taken for dead and was not; then members that it held
-- Takes back the crashes that were counted in its name. What has no crash left stands among the others again.
local name, is_any_cleared = ARGV[1], false
for i = 2, #ARGV do
  local member = ARGV[i]
  local times, whose = string.match(redis.call('HGET', crashes, member) or '', '^(%d+) (.+)$')
  if whose == name and tonumber(times) > 1 then
    redis.call('HSET', crashes, member, times - 1 .. ' ')
  elseif whose == name then
    redis.call('HDEL', crashes, member)
    local place = redis.call('ZSCORE', suspects, member)
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
