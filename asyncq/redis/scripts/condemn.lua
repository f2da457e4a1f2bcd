-- KEYS: workers
-- FLAGS: allow-oom
-- ARGV: name of a consumer that is spared, the time in ms at which it was decided to look
-- Ends the leases that had run out then, so that they can't be renewed any more. Returns whom to reclaim: those, and those
-- whose reclaimer did not come to an end.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', ARGV[2])) do
  if name ~= ARGV[1] then
    redis.call('ZADD', workers, '+inf', name)
  end
end
return redis.call('ZRANGEBYSCORE', workers, '+inf', '+inf')
