-- KEYS: ledger workers queues
-- USES: known
-- FLAGS: allow-oom
-- Lets the namespace be a ledger's. Returns 1; 0: a transport is there, for it has consumers or messages.
if redis.call('EXISTS', ledger) == 0 then
  if redis.call('EXISTS', workers) == 1 then
    return 0
  end
  for _, queue in ipairs(redis.call('SMEMBERS', queues)) do
    if redis.call('EXISTS', prefix_of(queue) .. 'messages') == 1 then
      return 0
    end
  end
  redis.call('SET', ledger, 1)
end
return 1
