-- KEYS: messages due running generations orphans queues
-- USES: queue known ledger
-- FLAGS: allow-oom
-- ARGV: id, body as it was read, new body, its due time in ms, its priority
-- Returns its generation, and its due time, 0: at once; nothing: it is not here, or is another by now, or runs.
local id, member, now = ARGV[1], '0' .. ARGV[1], now_ms()
if redis.call('HGET', messages, id) ~= ARGV[2] or redis.call('HEXISTS', running, member) == 1 then
  return nil
end
local queue = queue_of(messages, 'messages')
remember_copy(prefix_of(queue), id, now)
redis.call('HSET', messages, id, ARGV[3])
wait_until(prefix_of(queue), member, tonumber(ARGV[4]), now)
return {send_on(prefix_of(queue), queue, id, ARGV[5], now)}
