-- KEYS: orphans queues
-- USES: known ledger
-- FLAGS: allow-oom
-- ARGV: of each message that was published again its queue, its id, its generation
-- Returns nothing. What was sent on since is left as it is.
for i = 1, #ARGV, 3 do
  local queue, id = ARGV[i], ARGV[i + 1]
  if generation_in(redis.call('HGET', prefix_of(queue) .. 'generations', id)) <= tonumber(ARGV[i + 2]) then
    redis.call('ZREM', orphans, queue .. ' ' .. id)
  end
end
