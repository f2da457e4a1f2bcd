-- How a message that waits gets another time, or needs something else, for the scripts that name this file (behind
-- leaving.lua, suspects.lua and lanes.lua).
-- `key` holds the keys of its queue.

-- Returns the name under which it is lent; nil: it waits.
local function lent_as(members, running)
  for i, token in ipairs(redis.call('HMGET', running, unpack(members))) do
    if token then
      return members[i]
    end
  end
end

-- Returns the name under which it stands in a set that is ordered, and that set; nil: it stands in the line.
local function standing_in(members, key)
  for _, set in ipairs({key.due, key.ahead, key.suspects}) do
    for i, score in ipairs(redis.call('ZMSCORE', set, unpack(members))) do
      if score then
        return members[i], set
      end
    end
  end
end

-- Let it leave the line of a limit. Returns the name under which it stood there, and its place; nil: it does not.
local function leave_turn(members, key)
  for i, of in ipairs(redis.call('HMGET', key.stands, unpack(members))) do
    if of then
      local prefix = prefix_by(key.stands, 'stands')
      local place = redis.call('ZSCORE', prefix .. 'turn:' .. of, members[i])
      leave_line_to_next(prefix, of, members[i])
      return members[i], place
    end
  end
end

-- Let one that waits need something else (empty: nothing). What stood in the line of a limit is asked again, at its place.
local function change_terms(members, key, id, terms)
  local member, place = leave_turn(members, key)
  if member then
    local is_suspect = times_in(redis.call('HGET', key.crashes, member)) >= SUSPECT_CRASHES
    redis.call('ZADD', is_suspect and key.suspects or key.ahead, place, member)
    ring(is_suspect and key.wake_suspects or key.wake)
  end
  if terms == '' then
    redis.call('HDEL', key.terms, id)
  else
    redis.call('HSET', key.terms, id, terms)
  end
end

-- Let one that waits be due then, behind what stands there already.
local function move(members, key, due_ms, now)
  local member, set = leave_turn(members, key), nil
  if not member then
    member, set = standing_in(members, key)
    if set then
      redis.call('ZREM', set, member)
    else
      member = members[1] -- only those of priority 0 stand in the line
      leave_line(member, key.line, key.withdrawn)
    end
  end
  if due_ms > now then
    if schedule({due_ms, member}, key.due) then
      ring(key.wake)
    end
    return
  end
  local has_innocent, has_suspects = line_up_apart({member}, key.line, key.ahead, key.sequence, key.crashes, key.suspects)
  if has_innocent then
    ring(key.wake)
  end
  if has_suspects then
    ring(key.wake_suspects)
  end
end
