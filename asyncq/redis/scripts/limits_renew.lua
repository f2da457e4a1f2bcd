-- KEYS: limits
-- USES: queue terms
-- FLAGS: allow-oom
-- ARGV: a count of a concurrency limit, who holds a slot, and for how many ms from now
-- Returns 1; 0: the slot was lost.
local holders, now = TAG .. ':holders:' .. ARGV[1], now_ms()
if tonumber(redis.call('HGET', holders, ARGV[2]) or 0) <= now then
  return 0
end
redis.call('HSET', holders, ARGV[2], string.format('%.0f', now + ARGV[3]))
if redis.call('PTTL', holders) > 0 then
  redis.call('PEXPIRE', holders, ARGV[3] + 1000)
end
return 1
