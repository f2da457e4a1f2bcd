-- KEYS: messages progress watch result crashes
-- USES: queue ending
-- FLAGS: allow-oom
-- ARGV: id, progress, address to reply to, for how many ms it is kept
-- Returns 1, 0: there is no such call here.
local id, payload, reply, ttl_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('HEXISTS', messages, id) == 0 then
  return 0
end
redis.call('HSET', progress, id, string.format('%.0f ', now_ms() + ttl_ms) .. payload)
if redis.call('PTTL', progress) < ttl_ms then
  redis.call('PEXPIRE', progress, ttl_ms)
end
tell(reply, id, 2, payload)
tell_watchers(redis.call('HGET', watch, id), reply, id, 2, payload)
send_notices()
return 1
