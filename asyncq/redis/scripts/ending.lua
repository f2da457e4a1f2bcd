-- How calls end that may have left more than a message, for the scripts that name this file.
-- USES: notices

local function tell_watchers(watchers, reply, id, kind, payload)
  for address in string.gmatch(watchers or '', '%S+') do
    if address ~= reply then
      tell(address, id, kind, payload)
    end
  end
end

-- End calls that are in nobody's hands any more; each is {member, id, record or false, ttl_ms, reply}.
local function conclude(calls)
  local members, ids = {}, {}
  for i, call in ipairs(calls) do
    members[i], ids[i] = call.member, call.id
    keep_and_tell(call.id, call.record, call.ttl_ms, call.reply, result)
  end
  redis.call('HDEL', messages, unpack(ids))
  if redis.call('EXISTS', watch, progress, crashes, uniques) > 0 then
    for i, watchers in ipairs(redis.call('HMGET', watch, unpack(ids))) do
      tell_watchers(watchers, calls[i].reply, ids[i], news(calls[i].record, calls[i].ttl_ms))
    end
    redis.call('HDEL', watch, unpack(ids))
    redis.call('HDEL', progress, unpack(ids))
    redis.call('HDEL', crashes, unpack(members))
    give_back(ids, unique, uniques)
  end
end
