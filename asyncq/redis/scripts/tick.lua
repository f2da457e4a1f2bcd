-- KEYS: schedules ticks declared ticked queues
-- USES: queue known terms groups following
-- ARGV: name of a schedule; its record as it was read, after + (-: there was none); what that becomes, after + (-: it
--       goes); when it is next due, in ms (empty: it is not); and, if it publishes, a queue, how many may wait there
--       (0: any number), and of each message its member, its body and its due time in ms, 0: at once, and behind a space the
--       terms of one that has any
-- Returns done, already or stale; or, because there is no room for all messages, how many wait.
local name, seen, becomes, next_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local queue, longest, FIRST, WIDTH = ARGV[5], tonumber(ARGV[6] or 0), 7, 3

local kept = redis.call('HGET', schedules, name)
kept = kept and '+' .. kept or '-'
if kept == becomes then
  return 'already'
elseif kept ~= seen then
  return 'stale'
end

if queue then
  local prefix, follow_ups = prefix_of(queue), {}
  for i = FIRST, #ARGV, WIDTH do
    local member, due_ms, terms = ARGV[i], due_and_terms(ARGV[i + 2])
    follow_ups[#follow_ups + 1] = {
      member = member, id = string.sub(member, 2), body = ARGV[i + 1], is_fresh = false, due_ms = due_ms,
      terms = terms,
    }
  end
  if longest > 0 then
    local waiting = redis.call('HLEN', prefix .. 'messages') - redis.call('HLEN', prefix .. 'running')
    if waiting + #follow_ups > longest then
      return waiting
    end
  end
  publish_in(queue, follow_ups, now_ms())
end

if becomes == '-' then
  redis.call('HDEL', schedules, name)
  redis.call('ZREM', ticks, name)
  redis.call('ZREM', declared, name)
  return 'done'
end
redis.call('HSET', schedules, name, string.sub(becomes, 2))
if next_ms == '' then
  redis.call('ZREM', ticks, name)
  return 'done'
end
local first = redis.call('ZRANGE', ticks, 0, 0, 'WITHSCORES')[2]
redis.call('ZADD', ticks, next_ms, name)
if not first or tonumber(next_ms) < tonumber(first) then
  redis.call('PUBLISH', ticked, name)
end
return 'done'
