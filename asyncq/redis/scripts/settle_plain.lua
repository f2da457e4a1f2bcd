-- The usual settlement, which comes first in settle.lua: calls have ended, and leave nothing but their messages. In all
-- other cases it only acknowledges those that are held, and leaves the rest to what follows.
local count = tonumber(ARGV[2])
local end_of_settlements = FIRST + count * WIDTH
local members, held, outdated = acknowledge(count, prefix .. 'running')
if #held == 0 then
  return outdated
end

-- Whether all are of the kinds d and n, and nothing follows.
local function have_simply_ended()
  for _, i in ipairs(held) do
    local kind = string.byte(argument(i, 2))
    if kind ~= 100 and kind ~= 110 then
      return false
    end
  end
  return #ARGV < end_of_settlements
end

if have_simply_ended() and redis.call('EXISTS', prefix .. 'watch', prefix .. 'progress', prefix .. 'crashes',
    prefix .. 'uniques', prefix .. 'terms') == 0 then
  local ids = {}
  for n, i in ipairs(held) do
    local id, what = string.sub(members[i], 2), argument(i, 2)
    local record, ttl_ms = what ~= 'n' and argument(i, 4), tonumber(string.sub(what, 2)) or 0
    keep_and_tell(id, record, ttl_ms, argument(i, 3), prefix .. 'result:')
    ids[n] = id
  end
  redis.call('HDEL', prefix .. 'messages', unpack(ids))
  send_notices()
  return #outdated > 0 and outdated
end
