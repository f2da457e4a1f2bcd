-- KEYS: limits waited call lined
-- USES: queue terms lanes
-- FLAGS: allow-oom
-- ARGV: a count, and who gives back a slot of it or waits no more
-- Returns 1; 0: it held nothing (any more) and had no place.
local of, waiter = ARGV[1], ARGV[2]
redis.call('DEL', call .. waiter)
local had_place = redis.call('ZSCORE', TAG .. ':waiters:' .. of, waiter)
if had_place then
  stop_waiting(of, waiter)
end
if redis.call('HDEL', TAG .. ':holders:' .. of, waiter) == 1 then
  wake_waiters(of)
  return 1
end
return had_place and 1 or 0
