-- KEYS: limits lined waited paused
-- USES: queue terms lanes
-- FLAGS: allow-oom
-- ARGV: name of a limit, behind a space a key of it or nothing, for how many ms; 0: the pause is over
-- Returns until when it is paused. A shorter pause does not shorten a longer one.
local key, ms = paused .. ARGV[1] .. ARGV[2], tonumber(ARGV[3])
if ms == 0 then
  redis.call('DEL', key)
  wake_limits({[ARGV[1]] = true})
  return 0
end
local until_ms = now_ms() + ms
if until_ms > tonumber(redis.call('GET', key) or 0) then
  redis.call('SET', key, string.format('%.0f', until_ms), 'PX', ms)
end
return redis.call('GET', key)
