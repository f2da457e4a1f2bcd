-- KEYS: due wake
-- USES: queue
-- FLAGS: allow-oom
-- Wakes a consumer when something is due. Returns the ms until the next message is due, 0: now; -1: there is none.
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
if not first then
  return -1
end
local ms = tonumber(first) - now_ms()
if ms <= 0 then
  ring(wake)
  return 0
end
return ms
