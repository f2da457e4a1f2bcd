-- KEYS: messages due running generations orphans queues terms
-- USES: queue known ledger
-- FLAGS: allow-oom
-- ARGV: id, body as it was read, new body, its due time in ms, its priority, and when it expires, for terms that say it; 0:
--       never
-- Returns its generation, its due time, 0: at once, and its terms, empty: none; nothing: it is not here, or is another by
--       now, or runs.
local id, member, now = ARGV[1], '0' .. ARGV[1], now_ms()
if redis.call('HGET', messages, id) ~= ARGV[2] or redis.call('HEXISTS', running, member) == 1 then
  return nil
end
local queue = queue_of(messages, 'messages')
remember_copy(prefix_of(queue), id, now)
redis.call('HSET', messages, id, ARGV[3])
wait_until(prefix_of(queue), member, tonumber(ARGV[4]), now)
-- LATER: with_limits(expire_at) terms groups lanes replacing
local text = redis.call('HGET', terms, id) or ''
if text ~= '' then
  local limits = with_limits()
  text = limits.expire_at(prefix_of(queue), member, text, ARGV[6])
end
local generation, due_ms = send_on(prefix_of(queue), queue, id, ARGV[5], now)
return {generation, due_ms, text}
