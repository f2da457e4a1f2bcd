-- KEYS: limits waited
-- USES: queue terms grants holders admitting lanes
-- FLAGS: allow-oom
-- ARGV: a count, its limit, the weight (0: a slot), who asks, and for how many ms its place, or its slot, is kept
-- Returns 1 and 0: it is granted; or 0 and after how many ms it is to ask again. First come, first served.
local of, limit, weight, waiter, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local waiters, waiting, now = TAG .. ':waiters:' .. of, TAG .. ':waiting:' .. of, now_ms()
local is_slot = weight == 0
local holders = TAG .. ':holders:' .. of
if is_slot and tonumber(redis.call('HGET', holders, waiter) or 0) > now then
  return {1, 0} -- the reply was lost
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', now)) do
  if gone ~= waiter then
    redis.call('ZREM', waiting, gone)
    redis.call('ZREM', waiters, gone)
  end
end
local time = redis.call('TIME')
redis.call('ZADD', waiting, now + lease_ms, waiter)
redis.call('ZADD', waiters, 'NX', time[1] * 1000000 + time[2], waiter)
if redis.call('ZRANGE', waiters, 0, 0)[1] == waiter then
  local lacking, at = admit({{of = of, limit = limit, weight = not is_slot and weight or nil}}, waiter, now + lease_ms, now)
  if not lacking then
    stop_waiting(of, waiter)
    if is_slot and redis.call('HLEN', holders) == 1 then
      redis.call('PEXPIRE', holders, lease_ms + 1000)
    elseif is_slot and redis.call('PTTL', holders) > 0 then
      redis.call('PEXPIRE', holders, lease_ms + 1000)
    end
    return {1, 0}
  end
  lease_ms = math.min(lease_ms, (at - now) * 3)
end
local over = redis.call('ZCOUNT', waited, '-inf', now) -- whoever waited for these was killed
if over > 0 then
  redis.call('ZREMRANGEBYRANK', waited, 0, over - 1)
end
redis.call('ZADD', waited, now + ARGV[5], of)
redis.call('PEXPIRE', waited, string.format('%.0f', math.max(tonumber(ARGV[5]), redis.call('PTTL', waited))))
redis.call('PEXPIRE', waiters, ARGV[5])
redis.call('PEXPIRE', waiting, ARGV[5])
return {0, math.ceil(lease_ms / 3)}
