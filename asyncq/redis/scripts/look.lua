-- KEYS: messages running due crashes progress watch result
-- USES: queue
-- FLAGS: allow-oom
-- ARGV: address that watches (empty: nobody), for how many ms; then ids
-- Returns of each id: its record; or {body, place (ready, scheduled, running), progress or nil, 1 or 0: it was
--       started}; nil.
local watcher, watch_ms, now = ARGV[1], ARGV[2], now_ms()
local ids = {unpack(ARGV, 3)}

local function members_of(id)
  local members = {}
  for priority = 0, 9 do
    members[priority + 1] = priority .. id
  end
  return members
end

local function any(values)
  for _, value in ipairs(values) do
    if value then
      return value
    end
  end
  return false
end

local function place_of(members)
  if any(redis.call('HMGET', running, unpack(members))) then
    return 'running'
  end
  local due_ms = any(redis.call('ZMSCORE', due, unpack(members)))
  return due_ms and tonumber(due_ms) > now and 'scheduled' or 'ready'
end

local function progress_of(id)
  local kept = redis.call('HGET', progress, id)
  local end_ms, start = string.match(kept or '', '^(%d+) ()')
  return end_ms and tonumber(end_ms) > now and string.sub(kept, start) or false -- a nil would end the reply
end

local function watch_it(id)
  local watchers = redis.call('HGET', watch, id) or ''
  if not string.find(' ' .. watchers .. ' ', ' ' .. watcher .. ' ', 1, true) then
    redis.call('HSET', watch, id, watchers == '' and watcher or watchers .. ' ' .. watcher)
  end
end

local found, missing = {}, {}
for i, body in ipairs(redis.call('HMGET', messages, unpack(ids))) do
  if body then
    local members = members_of(ids[i])
    local was_started = redis.call('EXISTS', crashes) == 1 and any(redis.call('HMGET', crashes, unpack(members)))
    found[i] = {body, place_of(members), progress_of(ids[i]), was_started and 1 or 0}
    if watcher ~= '' then
      watch_it(ids[i])
    end
  else
    found[i] = false
    missing[#missing + 1] = i
  end
end
if watcher ~= '' and #missing < #ids then
  redis.call('PEXPIRE', watch, watch_ms)
end
if #missing > 0 then
  local results = {}
  for j, i in ipairs(missing) do
    results[j] = result .. ids[i]
  end
  for j, record in ipairs(redis.call('MGET', unpack(results))) do
    found[missing[j]] = record
  end
end
return found
