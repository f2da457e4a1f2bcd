-- KEYS: messages line ahead suspects due lanes
-- USES: queue
-- Returns the bodies of those that have been ready for longest, one at least of each priority; of groups, the first of as
-- many lanes as have their turn next.
local LANES = 100
local bodies = {}

-- Add the first of these that was not withdrawn.
local function add_first(members)
  for _, member in ipairs(members) do
    local body = redis.call('HGET', messages, string.sub(member, 2))
    if body then
      bodies[#bodies + 1] = body
      return
    end
  end
end

add_first(redis.call('LRANGE', line, 0, 99))
for priority = 0, 9 do
  local first = rank(tostring(priority), 0)
  for _, set in ipairs({ahead, suspects}) do
    add_first(redis.call('ZRANGEBYSCORE', set, string.format('%.0f', first), string.format('(%.0f', first + STEP),
      'LIMIT', 0, 1))
  end
end
for _, group in ipairs(redis.call('ZRANGE', lanes, 0, LANES - 1)) do
  if group ~= '' then
    add_first(redis.call('ZRANGE', string.sub(lanes, 1, -2) .. ':0:' .. group, 0, 0))
  end
end
-- What has become due lines up when somebody fetches.
add_first(redis.call('ZRANGEBYSCORE', due, '-inf', now_ms(), 'LIMIT', 0, 1))
return bodies
