-- How calls end and how that is told, for the scripts that name this file.
--
-- A notice is a line of three numbers for each call (size of its id, kind, size of its payload), then ids and payloads
-- one after the other. Kinds: 0 ended, look it up or find it gone; 1 ended, with its record; 2 progress.

local LARGEST_TOLD = 4096

local notices = {}

local function tell(address, id, kind, payload)
  if address == '' then
    return
  end
  local notice = notices[address]
  if not notice then
    notice = {{}, {}}
    notices[address] = notice
  end
  local sizes, parts = notice[1], notice[2]
  sizes[#sizes + 1] = #id .. ' ' .. kind .. ' ' .. #payload
  parts[#parts + 1] = id
  parts[#parts + 1] = payload
end

local function tell_watchers(watchers, reply, id, kind, payload)
  for address in string.gmatch(watchers or '', '%S+') do
    if address ~= reply then
      tell(address, id, kind, payload)
    end
  end
end

local function send_notices()
  for address, notice in pairs(notices) do
    redis.call('PUBLISH', address, table.concat(notice[1], ' ') .. '\n' .. table.concat(notice[2]))
  end
end

-- What is told of an ended call: a large record that can be looked up is not sent to everybody.
local function news(call)
  if not call.record or (call.ttl_ms > 0 and #call.record > LARGEST_TOLD) then
    return 0, ''
  end
  return 1, call.record
end

-- End calls that are in nobody's hands any more; each is {member, id, record or false, ttl_ms, reply}.
local function conclude(calls)
  local members, ids = {}, {}
  for i, call in ipairs(calls) do
    members[i], ids[i] = call.member, call.id
    if call.record and call.ttl_ms > 0 then
      redis.call('SET', result .. call.id, call.record, 'PX', call.ttl_ms)
    end
    tell(call.reply, call.id, news(call))
  end
  redis.call('HDEL', messages, unpack(ids))
  if redis.call('EXISTS', watch, progress, crashes, uniques) > 0 then
    for i, watchers in ipairs(redis.call('HMGET', watch, unpack(ids))) do
      tell_watchers(watchers, calls[i].reply, ids[i], news(calls[i]))
    end
    redis.call('HDEL', watch, unpack(ids))
    redis.call('HDEL', progress, unpack(ids))
    redis.call('HDEL', crashes, unpack(members))
    give_back(ids, unique, uniques)
  end
end
