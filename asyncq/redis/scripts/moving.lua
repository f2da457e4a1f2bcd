-- How a message that waits gets another time, for the scripts that name this file (behind leaving.lua and suspects.lua).
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

-- Let one that waits be due then, behind what stands there already.
local function move(members, key, due_ms, now)
  local member, set = standing_in(members, key)
  if member then
    redis.call('ZREM', set, member)
  else
    member = members[1] -- only those of priority 0 stand in the line
    leave_line(member, key.line, key.withdrawn)
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
