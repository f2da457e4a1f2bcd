-- What is known of ids in all queues of the namespace, for the scripts that name this file.

local function prefix_of(queue)
  return string.match(queues, '^{.*}') .. ':q:' .. queue .. ':'
end

-- Returns the queue whose key of that name this is.
local function queue_of(key, name)
  return string.match(key, '}:q:(.*):' .. name .. '$')
end

-- Returns by id what is kept under it in any queue, {why, what}; messages of the one queue that is named are left out.
local function find_known(ids, messages)
  local found = {}
  local function note(values, why)
    for i, value in ipairs(values) do
      if value then
        found[ids[i]] = {why, value}
      end
    end
  end
  for _, queue in ipairs(redis.call('SMEMBERS', queues)) do
    local prefix = prefix_of(queue)
    local results = {}
    for i, id in ipairs(ids) do
      results[i] = prefix .. 'result:' .. id
    end
    note(redis.call('MGET', unpack(results)), 'record')
    if prefix .. 'messages' ~= messages then
      note(redis.call('HMGET', prefix .. 'messages', unpack(ids)), 'body')
    end
  end
  return found
end
