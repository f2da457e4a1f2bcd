-- How it is told what becomes of calls, for the scripts that name this file.
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
  sizes[#sizes + 1] = string.format('%d %d %d', #id, kind, #payload)
  parts[#parts + 1] = id
  parts[#parts + 1] = payload
end

local function send_notices()
  for address, notice in pairs(notices) do
    redis.call('PUBLISH', address, table.concat(notice[1], ' ') .. '\n' .. table.concat(notice[2]))
  end
end

-- What is told of an ended call: a large record that can be looked up is not sent to everybody.
local function news(record, ttl_ms)
  if not record or (ttl_ms > 0 and #record > LARGEST_TOLD) then
    return 0, ''
  end
  return 1, record
end

-- Keep the record of an ended call (false: it has none) for its time, and tell who has published it.
local function keep_and_tell(id, record, ttl_ms, reply, results)
  if record and ttl_ms > 0 then
    redis.call('SET', results .. id, record, 'PX', ttl_ms)
  end
  tell(reply, id, news(record, ttl_ms))
end
