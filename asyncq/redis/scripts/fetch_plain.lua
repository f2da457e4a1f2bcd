-- The usual fetch, which comes first in fetch.lua: of the queues in which there is nothing but the line, and what is due
-- later, whether any of it may be taken or not. The first queue in which there is more it leaves as it is, with those
-- behind it, to what follows.
local name, number, left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local reply, done = {}, 0 -- what is told, and of how many queues
local now, refusal = nil, nil

local memberships = {}
for q, prefix in ipairs(KEYS) do
  memberships[q] = prefix .. 'consumer:' .. name
end
for _, lowest in ipairs(redis.call('MGET', unpack(memberships))) do
  refusal = refusal or not lowest and -1 or number < tonumber(lowest) and -2
end

-- Returns the ms until the next message of a queue is due, nil: there is none.
local function ms_until_due(prefix)
  local first = redis.call('ZRANGE', prefix .. 'due', 0, 0, 'WITHSCORES')[2]
  if first then
    now = now or now_ms()
    return math.max(0, first - now)
  end
end

for q, prefix in ipairs(refusal and {} or KEYS) do
  local line, limit = prefix .. 'line', math.min(left, tonumber(ARGV[4 + q]))
  -- Suspects have crashes, and what stands in the line of a limit or in a lane has terms.
  local found = redis.call('EXISTS', line, prefix .. 'due', prefix .. 'ahead', prefix .. 'crashes', prefix .. 'withdrawn',
    prefix .. 'uniques', prefix .. 'terms')
  local ms = found == 2 and ms_until_due(prefix) or nil
  if found > 2 or found == 2 and (ms or 0) == 0 then
    break
  end
  local members, bodies, tokens = found > 0 and limit > 0 and redis.call('LPOP', line, limit) or {}, nil, nil
  local is_more = found > 0 and #members == limit and redis.call('EXISTS', line) == 1
  if found > 0 and #members == 0 and not is_more then -- what there is, is not the line
    ms = found == 1 and ms_until_due(prefix) or nil
    if (ms or 0) == 0 then
      break
    end
  end
  if is_more then
    ring(prefix .. 'wake') -- the next that wakes wakes the one after it
  elseif #members > 0 then
    redis.call('DEL', prefix .. 'wake')
  end
  if #members > 0 then
    members, bodies, tokens = lend(q, members)
    left = left - #members
  end
  append(reply, ms, 0, members, bodies, tokens)
  done = q
end
if done == #KEYS then
  return reply
end
