-- KEYS: messages ahead due running crashes withdrawn progress watch result
-- USES: ending
-- FLAGS: allow-oom
-- ARGV: id, 1 or 0 for a record or none, record, ttl_ms, address to reply to
-- Returns 1, 0: it is not here, or runs.
local id = ARGV[1]
if redis.call('HEXISTS', messages, id) == 0 then
  return 0
end
local members = {}
for priority = 0, 9 do
  members[priority + 1] = priority .. id
end
for _, token in ipairs(redis.call('HMGET', running, unpack(members))) do
  if token then
    return 0
  end
end
local is_out = redis.call('ZREM', ahead, unpack(members)) + redis.call('ZREM', due, unpack(members)) > 0
if not is_out then
  redis.call('HINCRBY', withdrawn, '0' .. id, 1) -- it stands in `line`; whoever pops it drops it
end
redis.call('HDEL', crashes, unpack(members))
conclude({{
  member = '0' .. id, id = id, record = ARGV[2] == '1' and ARGV[3], ttl_ms = tonumber(ARGV[4]), reply = ARGV[5],
}})
send_notices()
return 1
