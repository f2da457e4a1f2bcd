-- KEYS: ledger workers queues
-- USES: known
-- FLAGS: allow-oom
-- ARGV: 1: it is known to be a ledger's, and was perhaps emptied; else 0
-- Lets the namespace be a ledger's. Returns 1; 0: a transport is there, for it has consumers or messages.
if ARGV[1] == '0' and redis.call('EXISTS', ledger) == 0 then
  if redis.call('EXISTS', workers) == 1 then
    return 0
  end
  for _, queue in ipairs(redis.call('SMEMBERS', queues)) do
    if redis.call('EXISTS', prefix_of(queue) .. 'messages') == 1 then
      return 0
    end
  end
end
redis.call('SET', ledger, 1)
return 1
