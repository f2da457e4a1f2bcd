-- KEYS: messages line ahead wake sequence dead fading letters result queues
-- USES: queue burial
-- ARGV: 1 or 0 for a call that is repeated because its reply was lost; then of each letter its member, its place, the
--       record in it (empty: none), and the message for its next life
-- After the keys of the queue stand `messages` and `result` of every other queue of the namespace.
-- Returns of each what became of it: done, gone, taken; or -1: there is a queue that is not among them.
local OWN, WIDTH = 10, 4
if redis.call('SCARD', queues) > (#KEYS - OWN) / 2 + 1 then
  return -1
end

-- Whether the id is another call's: its message, or a result that is not the one that this death has left.
local function is_taken(id, record)
  if redis.call('HEXISTS', messages, id) == 1 then
    return true
  end
  local kept = redis.call('GET', result .. id)
  if kept and kept ~= record then
    return true
  end
  for k = OWN + 1, #KEYS, 2 do
    if redis.call('HEXISTS', KEYS[k], id) == 1 or redis.call('EXISTS', KEYS[k + 1] .. id) == 1 then
      return true
    end
  end
  return false
end

local now, revived, ready, ids = now_ms(), {}, {}, {}
for i = 2, #ARGV, WIDTH do
  local member, place, record, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local id, answer = string.sub(member, 2), 'done'
  local is_there = redis.call('ZSCORE', dead, id) == place and tonumber(redis.call('ZSCORE', fading, id) or 0) > now
  if not is_there then
    local is_back = ARGV[1] == '1' and redis.call('HGET', messages, id) == body
    answer = is_back and 'done' or 'gone'
  elseif is_taken(id, record) then
    answer = 'taken'
  else
    redis.call('HSET', messages, id, body)
    redis.call('DEL', result .. id)
    ready[#ready + 1] = member
    ids[#ids + 1] = id
  end
  revived[#revived + 1] = answer
end
if #ready > 0 then
  forget(ids)
  line_up(ready, line, ahead, sequence)
  ring(wake)
end
return revived
