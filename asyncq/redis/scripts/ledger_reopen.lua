-- KEYS: messages crashes generations result ended claim queues
-- USES: known
-- ARGV: of each call its id, the record in its letter (empty: none), and the message for its next life
-- Returns of each 1 or 0: its id is another call's.
local ids, answers, reopened = {}, {}, {}
for i = 1, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
end
local known, bodies = find_known(ids, messages), redis.call('HMGET', messages, unpack(ids))

-- A claim that came after the end has lifted its tombstone, and found no record.
local function is_claimed(id)
  return not known[id] and redis.call('EXISTS', claim .. id) == 1 and redis.call('EXISTS', ended .. id) == 0
end

for i, id in ipairs(ids) do
  local record, body = ARGV[3 * i - 1], ARGV[3 * i]
  local is_others = known[id] and not (known[id][1] == 'record' and known[id][2] == record)
  if is_others or bodies[i] and bodies[i] ~= body or not bodies[i] and is_claimed(id) then
    answers[i] = 0
  else
    answers[i] = 1
    if not bodies[i] then
      reopened[#reopened + 1] = id
      reopened[#reopened + 1] = body
      redis.call('DEL', result .. id, ended .. id, claim .. id)
      redis.call('HDEL', generations, id)
      redis.call('HDEL', crashes, '0' .. id)
    end
  end
end
if #reopened > 0 then
  redis.call('HSET', messages, unpack(reopened))
  redis.call('SADD', queues, queue_of(messages, 'messages'))
end
return answers
