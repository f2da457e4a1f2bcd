-- KEYS: messages line ahead wake sequence dead fading letters result queues uniques unique terms
-- USES: queue burial known uniques terms groups
-- ARGV: 1 or 0 for a call that is repeated because its reply was lost; then of each letter its member, its place, the
--       record in it (empty: none), the message for its next life, its unique key, how it is given back (uniques.lua)
--       and a space before it; empty: none; and its terms; empty: none
-- After the keys of the queue stand `messages` and `result` of every other queue of the namespace.
-- Returns of each what became of it: done, gone, taken; or -1: there is a queue that is not among them.
local OWN, WIDTH = 13, 6
if redis.call('SCARD', queues) > (#KEYS - OWN) / 2 + 1 then
  return -1
end

-- Whether the key is another call's.
local function is_owned(id, key)
  local _, _, owner = owner_of(key, unique)
  return owner and owner ~= id
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

local now, revived, ready, ids, groups = now_ms(), {}, {}, {}, {}
for i = 2, #ARGV, WIDTH do
  local member, place, record, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local id, answer = string.sub(member, 2), 'done'
  local how, key = string.match(ARGV[i + 4], '^(%w+) (.*)$')
  local is_there = redis.call('ZSCORE', dead, id) == place and tonumber(redis.call('ZSCORE', fading, id) or 0) > now
  if not is_there then
    local is_back = ARGV[1] == '1' and redis.call('HGET', messages, id) == body
    answer = is_back and 'done' or 'gone'
  elseif is_taken(id, record) or key and is_owned(id, key) then
    answer = 'taken'
  else
    redis.call('HSET', messages, id, body)
    redis.call('DEL', result .. id)
    if key then
      take_key(key, unique, uniques, queue_of(messages, 'messages'), id, how, now)
    end
    if ARGV[i + 5] ~= '' then
      redis.call('HSET', terms, id, ARGV[i + 5])
      groups[member] = group_in(ARGV[i + 5])
    end
    ready[#ready + 1] = member
    ids[#ids + 1] = id
  end
  revived[#revived + 1] = answer
end
if #ready > 0 then
  forget(ids)
  line_up(stand_in_lanes(prefix_by(messages, 'messages'), ready, groups, newest_in_lane), line, ahead, sequence)
  ring(wake)
end
return revived
