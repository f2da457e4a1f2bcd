-- KEYS: workers about
-- USES: queue
-- FLAGS: allow-oom
-- ARGV: name of a consumer, ms of its lease, what it has to tell of itself (missing: nothing new)
-- Returns the time in ms, 0: it is no member, or is being reclaimed (its lease ends at infinity then, so none is later).
local now = now_ms()
if redis.call('ZADD', workers, 'XX', 'GT', 'CH', now + ARGV[2], ARGV[1]) == 0 then
  local end_ms = redis.call('ZSCORE', workers, ARGV[1]) -- nothing changed: renewed in this very millisecond, or lost
  if not end_ms or end_ms == 'inf' then
    return 0
  end
end
if ARGV[3] then
  redis.call('HSET', about, ARGV[1], ARGV[3])
end
return now
