-- KEYS: messages due result ended claim queues
-- USES: queue known ledger
-- ARGV: of each message its id, its body, and '' or f (its id is fresh) or k (it may be claimed) with its due time in ms
-- Returns nothing. What is known, or has ended, is left as it is.
local ids, unknown, numbers = {}, {}, {}
for i = 1, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
end
for n, body in ipairs(redis.call('HMGET', messages, unpack(ids))) do
  if not body then
    unknown[#unknown + 1] = ids[n]
    numbers[#numbers + 1] = n
  end
end

local noted, later, claims, now = {}, {}, {}, now_ms()
for n, has_ended in ipairs(which_have_ended(unknown)) do
  if not has_ended then
    local at, id = 3 * numbers[n] - 2, unknown[n]
    local due_ms = tonumber(string.sub(ARGV[at + 2], 2)) or 0
    noted[#noted + 1] = id
    noted[#noted + 1] = ARGV[at + 1]
    if due_ms > now then
      later[#later + 1] = due_ms
      later[#later + 1] = '0' .. id
    end
  end
end
if #noted > 0 then
  redis.call('HSET', messages, unpack(noted))
end
if #later > 0 then
  redis.call('ZADD', due, unpack(later))
end
for n, id in ipairs(ids) do
  if string.byte(ARGV[3 * n]) == 107 then
    claims[#claims + 1] = claim .. id
  end
end
if #claims > 0 then
  redis.call('DEL', unpack(claims))
end
redis.call('SADD', queues, queue_of(messages, 'messages'))
