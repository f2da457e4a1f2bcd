-- How messages are lent to the consumer that fetches, for fetch.lua, which says what KEYS and ARGV are.

local function ids_of(members)
  local ids = {}
  for i, member in ipairs(members) do
    ids[i] = string.sub(member, 2)
  end
  return ids
end

-- Lend members of a queue under new tokens, in their old places where `numbers` has these by member; what has no body is
-- dropped. Tokens tell queues apart, as each numbers its places itself. Returns members, bodies and tokens.
local function lend(q, members, numbers)
  local kept, bodies, tokens, lent = {}, {}, {}, {}
  for i, body in ipairs(redis.call('HMGET', KEYS[q] .. 'messages', unpack(ids_of(members)))) do
    if body then
      kept[#kept + 1] = members[i]
      bodies[#bodies + 1] = body
    end
  end
  local count = #kept
  if count == 0 then
    return kept, bodies, tokens
  end
  local sequence = redis.call('INCRBY', KEYS[q] .. 'sequence', count) - count
  local start = string.format('%s/%s%03d/', ARGV[1], ARGV[2], q)
  for i, member in ipairs(kept) do
    tokens[i] = start .. string.format('%.0f', numbers and numbers[member] or sequence + i)
    lent[2 * i - 1] = member
    lent[2 * i] = tokens[i]
  end
  redis.call('HSET', KEYS[q] .. 'running', unpack(lent))
  return kept, bodies, tokens
end

-- Append to the reply what is told of a queue.
local function append(reply, ms, facts, members, bodies, tokens)
  local at = #reply
  reply[at + 1], reply[at + 2], reply[at + 3] = ms or -1, #members, facts
  at = at + 3
  for i, member in ipairs(members) do
    reply[at + 1], reply[at + 2], reply[at + 3] = member, bodies[i], tokens[i]
    at = at + 3
  end
end
