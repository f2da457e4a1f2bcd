-- How a ledger's calls wait in lines, for the scripts that name this file (behind terms.lua, groups.lua, lanes.lua and
-- admitting.lua): in those of limits, and in one of the queue itself, in which groups wait for nothing but somebody who has
-- time.
--
-- There a member has the digit 0 whatever its priority. What a call needs ends in spaces once it was parked, one more than
-- its priority: so the end of one that never was need not ask for how long it is to be remembered.

local AFTER_PARKING_MS, OWN = 7200000, 'queue' -- the first: that of asyncq/ledger/lives.py

-- Returns for how many ms the end of a call is remembered that is parked now.
local function parked_ms(left_ms)
  return string.format('%.0f', math.max(AFTER_PARKING_MS, left_ms))
end

-- Returns the priority of one that was parked, by what it needs.
local function priority_in(text)
  return math.max(0, #string.match(text, ' *$') - 1)
end

local function has_lane(prefix, of)
  return redis.call('EXISTS', lanes_of(prefix, of)) == 1
end

-- Let one stand in a line that is asked for then if it is new.
local function wait_in_line(prefix, of, member, place, at, group)
  if group == '' and has_lane(prefix, of) then
    join_lanes(prefix, of, '')
  end
  if stand_in_line(prefix, of, member, place, at, group) then
    ring(prefix .. 'wake')
  end
end

-- Returns the place of one that becomes ready now.
local function place_of(prefix, priority, group)
  if group == '' then
    return (9 - priority) * STEP + NEW + redis.call('INCR', prefix .. 'sequence')
  end
  return newest_in_lane(priority .. '')
end

-- Returns the line of one of these terms, if there are others in it.
local function line_of_one(prefix, terms)
  for _, term in ipairs(terms) do
    if redis.call('ZSCORE', prefix .. 'turns', term.of) then
      return term.of
    end
  end
end

-- Returns the line in which a call has to stand, and when to ask for it; nothing: it is granted all that it needs.
local function line_for(prefix, member, terms, has_lines, is_suspect, is_put_off, now)
  local group = terms.group or ''
  if is_put_off then
    return OWN, now
  elseif has_lines then
    local joined = group ~= '' and redis.call('ZSCORE', prefix .. 'turns', OWN) and OWN or line_of_one(prefix, terms)
    if joined then
      return joined
    end
  end
  if is_suspect and (terms[1] or group ~= '') then
    return terms[1] and terms[1].of or OWN, now
  end
  return admit(terms, holder_of(prefix, member), nil, now)
end

-- Let a call wait for what it needs, `text`, of which `kept` was known, or for who has time; one that stands in line stays
-- there, unless it is another by now. Returns when its line is asked for; or nothing, for it is granted, and whether it is
-- granted anything.
local function park(prefix, member, priority, text, kept, is_suspect, is_another, is_put_off)
  local id, now, key = string.sub(member, 2), now_ms(), prefix .. 'terms'
  local has_lines = redis.call('EXISTS', prefix .. 'turns') == 1
  local of = has_lines and redis.call('HGET', prefix .. 'stands', member)
  if of and is_another then
    leave_line_to_next(prefix, of, member, group_in(kept))
    of = false
  end
  if text ~= kept then
    redis.call('HSET', key, id, text)
  end
  if not of then
    local terms = read_terms(text)
    local group = terms.group or ''
    local line, at = line_for(prefix, member, terms, has_lines, is_suspect, is_put_off, now)
    if not line then
      forget_expiry(terms, key, id, text)
      return nil, #terms > 0
    end
    wait_in_line(prefix, line, member, place_of(prefix, priority, group), at, group)
    of = line
    if is_put_off then
      redis.call('ZADD', prefix .. 'turns', 'LT', now, OWN)
    end
  end
  local marked = string.gsub(text, ' *$', '', 1) .. string.rep(' ', priority + 1)
  if marked ~= text then
    redis.call('HSET', key, id, marked)
  end
  return redis.call('ZSCORE', prefix .. 'turns', of)
end

-- Call somebody for what waits for nothing else.
local function call_others(prefix)
  if redis.call('ZSCORE', prefix .. 'turns', OWN) then
    ring(prefix .. 'wake')
  end
end
