-- KEYS: workers queues_of
-- USES: queue
-- FLAGS: allow-oom
-- ARGV: name of a consumer, ms of its lease, its queues
redis.call('ZADD', workers, now_ms() + ARGV[2], ARGV[1])
redis.call('HSET', queues_of, ARGV[1], ARGV[3])
return 0
