-- KEYS: due wake turns
-- USES: queue
-- FLAGS: allow-oom
-- Wakes a consumer when something is due, a message or the line of a limit. Returns the ms until the next is, 0: now;
-- -1: there is none.
local message = tonumber(redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2] or 'inf')
local line = tonumber(redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')[2] or 'inf')
local first = math.min(message, line)
if first == math.huge then
  return -1
end
local ms = math.ceil(first - now_ms())
if ms <= 0 then
  ring(wake)
  return 0
end
return ms
