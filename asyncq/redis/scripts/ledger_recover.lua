-- KEYS: messages due running orphans stands
-- USES: queue known
-- FLAGS: allow-oom
-- ARGV: of each call that has ended, or was not wanted, the digit of its priority and its id
-- Returns how many of them wait all the same: the server was set back to before that. They become orphans, for whoever had
--       their message has acknowledged it. One that is scheduled is another, of the same id; one that stands in the line of
--       a limit is run from there.
local queue, now = queue_of(messages, 'messages'), now_ms()
local newest = redis.call('ZREVRANGE', orphans, 0, 0, 'WITHSCORES')[2]
local last, count = math.max(now * 100, math.floor((newest or 0) / 10)), 0
for _, member in ipairs(ARGV) do
  local id = string.sub(member, 2)
  local waits = redis.call('HEXISTS', messages, id) == 1 and redis.call('HEXISTS', running, '0' .. id) == 0
  waits = waits and redis.call('HEXISTS', stands, '0' .. id) == 0
  if waits and tonumber(redis.call('ZSCORE', due, '0' .. id) or 0) <= now then
    local score = string.format('%.0f%s', last + count + 1, string.sub(member, 1, 1))
    count = count + redis.call('ZADD', orphans, 'NX', score, queue .. ' ' .. id)
  end
end
return count
