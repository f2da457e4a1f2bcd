-- KEYS: messages line ahead due suspects running crashes withdrawn progress watch result orders uniques unique terms
-- USES: queue severing leaving uniques ending terms groups lanes
-- FLAGS: allow-oom
-- ARGV: id, 1 or 0 for a record or none, record, ttl_ms, address to reply to, and for how many ms a consumer that holds
--       it can learn that it is over; 0: what is lent stays as it is
-- Returns 1, 0: it is not here, or runs and stays as it is.
local id, order_ms = ARGV[1], tonumber(ARGV[6])

if redis.call('HEXISTS', messages, id) == 0 then
  return 0
end
local members = members_of(id)
local may_end, is_lent = sever(members, running, orders, order_ms)
if not may_end then
  return 0
end
local is_out = is_lent
if redis.call('EXISTS', terms) == 1 then
  local prefix, group = prefix_by(messages, 'messages'), group_in(redis.call('HGET', terms, id))
  for i, of in ipairs(redis.call('HMGET', prefix .. 'stands', unpack(members))) do
    if of then
      leave_line_to_next(prefix, of, members[i], group)
      is_out = true
    end
  end
  if not is_out and group ~= '' then
    is_out = leave_lane(prefix, '', group, members) > 0
  end
  if is_lent then
    free_slots(prefix, members)
  end
  redis.call('HDEL', terms, id)
end
for _, set in ipairs({ahead, due, suspects}) do
  is_out = redis.call('ZREM', set, unpack(members)) > 0 or is_out
end
if not is_out then
  leave_line('0' .. id, line, withdrawn)
end
redis.call('HDEL', crashes, unpack(members))
conclude({{
  member = '0' .. id, id = id, record = ARGV[2] == '1' and ARGV[3], ttl_ms = tonumber(ARGV[4]), reply = ARGV[5],
}})
send_notices()
return 1
