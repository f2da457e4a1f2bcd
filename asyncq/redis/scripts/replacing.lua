-- How a ledger's call that waits comes to need something else, for the scripts that name this file (behind groups.lua
-- and lanes.lua).

local function leave_its_line(prefix, member, text)
  local of = redis.call('HGET', prefix .. 'stands', member)
  if of then
    leave_line_to_next(prefix, of, member, group_in(text))
  end
end

-- Let it leave its line, and expire at another time where it says one. Returns what it needs.
local function expire_at(prefix, member, text, expires_ms)
  leave_its_line(prefix, member, text)
  local changed, has_expiry = string.gsub(text, '"expires_ms":%d+', '"expires_ms":' .. expires_ms)
  if has_expiry == 1 then
    redis.call('HSET', prefix .. 'terms', string.sub(member, 2), changed)
  end
  return changed
end

-- Let it need something else (empty: nothing). It goes on standing in line where that is what it needed, unless it is
-- put off.
local function need(prefix, member, text, is_put_off)
  local key, id = prefix .. 'terms', string.sub(member, 2)
  local kept = string.gsub(redis.call('HGET', key, id) or '', ' *$', '', 1)
  local is_another = text ~= kept
  if is_another or is_put_off then
    leave_its_line(prefix, member, kept)
  end
  if is_another and text == '' then
    redis.call('HDEL', key, id)
  elseif is_another then
    redis.call('HSET', key, id, text)
  end
end
