-- KEYS: limits lined waited
-- USES: queue terms lanes
-- FLAGS: allow-oom
-- ARGV: of each limit its name (`rate NAME`, `slots NAME`), `declared`, `missing` (declared unless
--       it is) or `changed`, and what it allows: how many, in how
--       many ms, and burst; empty: take back what was said
-- Whoever waits for a limit of which something new was said is asked for at once.
local news = {}
for i = 1, #ARGV, 3 do
  local field = (ARGV[i + 1] == 'missing' and 'declared' or ARGV[i + 1]) .. ' ' .. ARGV[i]
  local is_new
  if ARGV[i + 2] == '' then
    is_new = redis.call('HDEL', limits, field) == 1
  elseif ARGV[i + 1] == 'missing' then
    is_new = redis.call('HSETNX', limits, field, ARGV[i + 2]) == 1
  else
    is_new = redis.call('HGET', limits, field) ~= ARGV[i + 2]
    redis.call('HSET', limits, field, ARGV[i + 2])
  end
  if is_new then
    news[ARGV[i]] = true
  end
end
if next(news) then
  wake_limits(news)
end
return 0
