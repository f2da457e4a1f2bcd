-- Who holds the slots of concurrency limits, for the scripts that name this file.
--
-- `holders:OF` maps a queue, a space and a member to nothing, for as long as that call is lent; and the name of code
-- outside of tasks to the ms until which it holds its slot.

local held_since_now = {}
local ALWAYS_COUNTED, COUNTED_AGAIN_MS = 32, 1000

local function holder_of(prefix, member)
  return string.sub(prefix, #TAG + 4, -2) .. ' ' .. member
end

-- Free what nobody holds any more: a path may have been lost in a failover. Returns how many slots are taken, and when
-- the first runs out that does so by itself.
local function count_holders(of, now)
  local key, count, first = TAG .. ':holders:' .. of, 0, math.huge
  local found = redis.call('HGETALL', key)
  for i = 1, #found, 2 do
    local holder, until_ms = found[i], tonumber(found[i + 1])
    local is_there
    if until_ms then
      is_there = until_ms > now
      first = is_there and math.min(first, until_ms) or first
    else
      local queue, member = string.match(holder, '^(%S+) (.*)$')
      is_there = held_since_now[of .. '\n' .. holder]
        or redis.call('HEXISTS', TAG .. ':q:' .. queue .. ':running', member) == 1
    end
    if is_there then
      count = count + 1
    else
      redis.call('HDEL', key, holder)
    end
  end
  return count, first
end

-- Returns when there is a slot; `now` or earlier: now.
local function slot_at(of, numbers, now)
  if redis.call('HLEN', TAG .. ':holders:' .. of) < numbers[1] then
    return 0
  end
  -- Where there are many they are counted once in a while only: each costs a look.
  if numbers[1] > ALWAYS_COUNTED
    and not redis.call('SET', TAG .. ':counted:' .. of, 1, 'NX', 'PX', COUNTED_AGAIN_MS) then
    return now + COUNTED_AGAIN_MS
  end
  local count, first = count_holders(of, now)
  return count < numbers[1] and 0 or first
end

local function grant_slot(of, holder, until_ms)
  local key = TAG .. ':holders:' .. of
  redis.call('HSET', key, holder, until_ms and string.format('%.0f', until_ms) or '')
  if not until_ms then
    redis.call('PERSIST', key) -- of those outside of tasks alone it is kept for their leases
  end
  held_since_now[of .. '\n' .. holder] = true
end
