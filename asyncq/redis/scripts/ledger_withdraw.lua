-- KEYS: messages due running crashes generations progress watch result ended orders uniques unique terms
-- USES: queue severing uniques ending ledger
-- FLAGS: allow-oom
-- ARGV: id, 1 or 0 for a record or none, record, ttl_ms, address to reply to, for how many ms a consumer that holds it
--       can learn that it is over, 0: what is lent stays as it is; and for how many ms after it was due it is remembered
-- Returns 1, 0: it is not here, or runs and stays as it is.
local id, member, order_ms = ARGV[1], '0' .. ARGV[1], tonumber(ARGV[6])
if redis.call('HEXISTS', messages, id) == 0 then
  return 0
end
if not sever({member}, running, orders, order_ms) then
  return 0
end
-- LATER: with_limits(prefix_by free_slots leave_line_to_next group_in) terms groups lanes
local needs = redis.call('HGET', terms, id) or nil
if needs then
  local limits = with_limits()
  local prefix = limits.prefix_by(messages, 'messages')
  local of = redis.call('HGET', prefix .. 'stands', member)
  if of then
    limits.leave_line_to_next(prefix, of, member, limits.group_in(needs))
  else
    limits.free_slots(prefix, {member})
  end
end
local due_ms = tonumber(redis.call('ZSCORE', due, member) or 0)
redis.call('ZREM', due, member)
redis.call('HDEL', crashes, member)
local call = {
  member = member, id = id, record = ARGV[2] == '1' and ARGV[3], ttl_ms = tonumber(ARGV[4]), reply = ARGV[5],
  needs = needs,
}
conclude_for_good({call}, math.max(due_ms - now_ms(), 0) + tonumber(ARGV[7]))
send_notices()
return 1
