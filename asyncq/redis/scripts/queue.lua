-- How the ready messages of a queue stand in line, for the scripts that name this file.
-- USES: bells
--
-- `ahead` is fetched first. Its scores order by priority, larger first; then what was handed back, by the number under
-- which it was first fetched; then what is new, by the number under which it became ready. New messages of priority 0
-- need no score: they stand in `line`. A score stays below 2^53, where a double is exact.

local NEW, STEP = 2 ^ 48, 2 ^ 49

local function is_plain(member)
  return string.byte(member) == 48
end

local function rank(member, sequence)
  return (57 - string.byte(member)) * STEP + sequence
end

-- Let new messages stand in a set that is ordered as `ahead` is.
local function stand_in(members, set, sequences)
  if #members == 0 then
    return
  end
  local sequence = redis.call('INCRBY', sequences, #members) - #members
  local ranked = {}
  for i, member in ipairs(members) do
    ranked[2 * i - 1] = rank(member, NEW + sequence + i)
    ranked[2 * i] = member
  end
  redis.call('ZADD', set, unpack(ranked))
end

-- Let new messages line up.
local function line_up(members, line, ahead, sequences)
  local plain, urgent = {}, {}
  for _, member in ipairs(members) do
    local list = is_plain(member) and plain or urgent
    list[#list + 1] = member
  end
  if #plain > 0 then
    redis.call('RPUSH', line, unpack(plain))
  end
  stand_in(urgent, ahead, sequences)
end

-- Let messages wait for their time; `entries` are due_ms, member, due_ms, ... Returns whether the first to be due changed.
local function schedule(entries, due)
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  redis.call('ZADD', due, unpack(entries))
  return redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2] ~= first
end
