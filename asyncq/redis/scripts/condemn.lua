-- KEYS: workers
-- USES: queue
-- FLAGS: allow-oom
-- ARGV: name of a consumer that is spared
-- Ends the leases that have run out, so that they can't be renewed any more. Returns whom to reclaim: those, and those
-- whose reclaimer did not come to an end.
local now = now_ms()
for _, name in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', now)) do
  if name ~= ARGV[1] then
    redis.call('ZADD', workers, '+inf', name)
  end
end
return redis.call('ZRANGEBYSCORE', workers, '+inf', '+inf')
