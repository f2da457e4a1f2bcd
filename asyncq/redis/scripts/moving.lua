-- How a message that waits gets another time, or needs something else, for the scripts that name this file (behind
-- leaving.lua, suspects.lua, groups.lua and lanes.lua).
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

-- Let it leave the line of a limit, or the lane of its queue. Returns the name under which it stood there, and its place;
-- nil: it does not.
local function leave_turn(members, key, group)
  local prefix = prefix_by(key.stands, 'stands')
  for i, of in ipairs(redis.call('HMGET', key.stands, unpack(members))) do
    if of then
      local place = redis.call('ZSCORE', part_of_line(prefix, of, group), members[i])
      leave_line_to_next(prefix, of, members[i], group)
      return members[i], place
    end
  end
  for i, place in ipairs(group ~= '' and redis.call('ZMSCORE', lane_of(prefix, '', group), unpack(members)) or {}) do
    if place then
      leave_lane(prefix, '', group, {members[i]})
      return members[i], place
    end
  end
end

-- Let one stand among the ready ones, at the place that it had in the lane of a group, or of none.
local function stand_again(member, place, key, before, group)
  local prefix = prefix_by(key.stands, 'stands')
  if times_in(redis.call('HGET', key.crashes, member)) >= SUSPECT_CRASHES then
    redis.call('ZADD', key.suspects, before == '' and place or ranked_place(prefix, member, place), member)
    ring(key.wake_suspects)
    return
  end
  if group == '' then
    redis.call('ZADD', key.ahead, before == '' and place or ranked_place(prefix, member, place), member)
  else
    stand_in_lanes(prefix, {member}, {[member] = group}, function()
      return before == '' and lane_place(member, place) or place
    end)
  end
  ring(key.wake)
end

-- Let one that waits need something else (empty: nothing). What stood in the line of a limit, or in a lane, is asked
-- again, at its place.
local function change_terms(members, key, id, terms)
  local before, group = group_in(redis.call('HGET', key.terms, id)), group_in(terms)
  local member, place = leave_turn(members, key, before)
  if member then
    stand_again(member, place, key, before, group)
  end
  if terms == '' then
    redis.call('HDEL', key.terms, id)
  else
    redis.call('HSET', key.terms, id, terms)
  end
end

-- Let one that waits be due then, behind what stands there already.
local function move(members, key, due_ms, now)
  local text = redis.call('HGET', key.terms, string.sub(members[1], 2))
  local group, prefix = group_in(text), prefix_by(key.stands, 'stands')
  local member, set = leave_turn(members, key, group), nil
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
  if text and #join_lines(prefix, {member}, newest_place(prefix)) == 0 then
    return
  end
  local innocent = sift({member}, key.crashes)
  if #innocent > 0 and group ~= '' then
    stand_in_lanes(prefix, innocent, {[member] = group}, newest_in_lane)
    ring(key.wake)
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
