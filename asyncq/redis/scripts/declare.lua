-- KEYS: schedules ticks declared
-- FLAGS: allow-oom
-- ARGV: until when in ms; until when those are gone that are not declared any longer, empty: none is; then names
-- Returns the names that are no schedules.
local until_ms, lapsed_ms, missing = tonumber(ARGV[1]), ARGV[2], {}
for i = 3, #ARGV do
  if redis.call('HEXISTS', schedules, ARGV[i]) == 0 then
    missing[#missing + 1] = ARGV[i]
  end
  redis.call('ZADD', declared, 'GT', until_ms, ARGV[i])
end
if lapsed_ms ~= '' then
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', declared, '-inf', lapsed_ms, 'LIMIT', 0, 1000)) do
    redis.call('HDEL', schedules, name)
    redis.call('ZREM', ticks, name)
    redis.call('ZREM', declared, name)
  end
end
return missing
