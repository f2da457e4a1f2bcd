-- How a ledger's calls wait in the lines of limits, for the scripts that name this file (behind terms.lua, lanes.lua and
-- admitting.lua).
--
-- There a member has the digit 0 whatever its priority, and its place says that. What a call needs ends in a space once it was
-- parked: so the end of one that never was need not ask for how long it is to be remembered.

local AFTER_PARKING_MS = 7200000 -- that of asyncq/ledger/lives.py

-- Returns for how many ms the end of a call is remembered that is parked now.
local function parked_ms(left_ms)
  return string.format('%.0f', math.max(AFTER_PARKING_MS, left_ms))
end

-- Let a call wait for what it needs, `text`, of which `kept` was known; one that stands in line stays there, unless it is
-- another by now. Returns when its line is asked for; or nothing, for it is granted, and whether it is granted anything.
local function park(prefix, member, priority, text, kept, is_suspect, is_another)
  local id, now, key = string.sub(member, 2), now_ms(), prefix .. 'terms'
  local has_lines = redis.call('EXISTS', prefix .. 'turns') == 1
  local of = has_lines and redis.call('HGET', prefix .. 'stands', member)
  if of and is_another then
    leave_line_to_next(prefix, of, member)
    of = false
  end
  if text ~= kept then
    redis.call('HSET', key, id, text)
  end
  local function place()
    return (9 - priority) * STEP + NEW + redis.call('INCR', prefix .. 'sequence')
  end
  if not of and (not has_lines or #join_lines(prefix, {member}, place) > 0) then
    local needs = read_terms(text)
    if is_suspect and needs[1] then
      stand_in_line(prefix, needs[1].of, member, place(), now)
    else
      local lacking, at = admit(needs, holder_of(prefix, member), nil, now)
      if not lacking then
        forget_expiry(needs, key, id, text)
        return nil, #needs > 0
      end
      stand_in_line(prefix, lacking, member, place(), at)
    end
  end
  if string.sub(text, -1) ~= ' ' then
    redis.call('HSET', key, id, text .. ' ')
  end
  return redis.call('ZSCORE', prefix .. 'turns', of or redis.call('HGET', prefix .. 'stands', member))
end
