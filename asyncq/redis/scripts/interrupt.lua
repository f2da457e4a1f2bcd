-- KEYS: interrupt
-- FLAGS: allow-oom
-- ARGV: name of a consumer to wake, for how many ms it may take
local bell = interrupt .. ARGV[1]
redis.call('DEL', bell)
redis.call('RPUSH', bell, 1)
redis.call('PEXPIRE', bell, ARGV[2])
return 0
