-- KEYS: consumer
-- FLAGS: allow-oom
-- ARGV: name of a consumer that may fetch from this queue from now on
redis.call('SET', consumer .. ARGV[1], 0)
return 0
