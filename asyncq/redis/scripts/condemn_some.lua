-- KEYS: workers
-- FLAGS: allow-oom
-- ARGV: names of consumers
-- Ends their leases, so that they can't be renewed any more.
for _, name in ipairs(ARGV) do
  redis.call('ZADD', workers, 'XX', '+inf', name)
end
return 0
