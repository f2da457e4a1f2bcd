-- KEYS: dead fading letters
-- USES: queue
-- ARGV: how many at most, the place (time of death in microseconds) before which they died; empty: any
-- Returns the newest first, each as its id, its place, its letter.
local limit, upper, now, found = tonumber(ARGV[1]), ARGV[2] == '' and '+inf' or '(' .. ARGV[2], now_ms(), {}
while #found < 3 * limit do
  local newest = redis.call('ZREVRANGEBYSCORE', dead, upper, '-inf', 'WITHSCORES', 'LIMIT', 0, limit - #found / 3)
  if #newest == 0 then
    break
  end
  upper = '(' .. newest[#newest]
  for i = 1, #newest, 2 do
    if tonumber(redis.call('ZSCORE', fading, newest[i]) or 0) > now then -- else it goes with the next that dies
      found[#found + 1] = newest[i]
      found[#found + 1] = newest[i + 1]
      found[#found + 1] = redis.call('HGET', letters, newest[i])
    end
  end
end
return found
