-- How unique keys are taken and given back, for the scripts that name this file; keys.py says how they are kept.

-- Returns of a value under a key: when it was taken, the owner's queue, its id.
local function owner_in(value)
  return string.match(value, '^(%d+) ([^\n]*)\n(.*)$')
end

-- Returns who has a key: when it was taken, the queue, the id, whether its message is there; nil: nobody. A key without a
-- time is its owner's as long as that has a message: the server may have lost it with its last moments.
local function owner_of(key, unique)
  local value = redis.call('GET', unique .. key)
  if not value then
    return nil
  end
  local taken_ms, queue, id = owner_in(value)
  local is_there = redis.call('HEXISTS', string.match(unique, '^{.*}') .. ':q:' .. queue .. ':messages', id) == 1
  if not is_there and redis.call('PTTL', unique .. key) == -1 then
    return nil
  end
  return tonumber(taken_ms), queue, id, is_there
end

-- Give a key to a call: `how` is s or e (given back at its start or end), or for how many ms it is kept.
local function take_key(key, unique, uniques, queue, id, how, now)
  local value = string.format('%.0f', now) .. ' ' .. queue .. '\n' .. id
  if how == 's' or how == 'e' then
    redis.call('SET', unique .. key, value)
    redis.call('HSET', uniques, id, how .. key)
  else
    redis.call('SET', unique .. key, value, 'PX', how)
  end
end

-- Free the keys of calls; with `how` s, of those that give them back at their start. Not what is another's by now.
local function give_back(ids, unique, uniques, how)
  local over = {}
  for i, kept in ipairs(redis.call('HMGET', uniques, unpack(ids))) do
    if kept and (not how or string.sub(kept, 1, 1) == how) then
      local name = unique .. string.sub(kept, 2)
      local value = redis.call('GET', name)
      local _, _, id = owner_in(value or '')
      if id == ids[i] and redis.call('PTTL', name) == -1 then
        redis.call('DEL', name)
      end
      over[#over + 1] = ids[i]
    end
  end
  if #over > 0 then
    redis.call('HDEL', uniques, unpack(over))
  end
end
