-- KEYS: messages line ahead due running crashes wake sequence progress watch dead fading letters result
-- USES: queue ending burial
-- FLAGS: allow-oom
-- ARGV: how many dead letters are kept; then of each settlement its member, its token, what becomes of it, the address
--       to reply to, and a payload. What becomes of it:
--         d, ttl_ms  it is done and has a record: the payload        n  it is done, and nothing is kept
--         x, ttl_ms  it is dead and has a record                     y  it is dead, and only its letter has a record
--                    both with a payload of ttl_ms and size of the reason, each and a space, then reason and record
--         a, due_ms  it runs again, with the payload as its body     r  it is handed back
-- Returns the numbers, from 0, of those that took no effect.
local WIDTH = 5
local function argument(i, field)
  return ARGV[2 + (i - 1) * WIDTH + field]
end

local members, outdated, held, ended = {}, {}, {}, {}
local ready, later, returned = {}, {}, {}
for i = 1, (#ARGV - 1) / WIDTH do
  members[i] = argument(i, 0)
end
local seen = {}
local acknowledged = {}
for i, token in ipairs(redis.call('HMGET', running, unpack(members))) do
  if token == argument(i, 1) and not seen[members[i]] then
    seen[members[i]] = true
    held[#held + 1] = i
    acknowledged[#acknowledged + 1] = members[i]
  else
    outdated[#outdated + 1] = i - 1
  end
end
if #held == 0 then
  return outdated
end
redis.call('HDEL', running, unpack(acknowledged))

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local has_dead = false

local function finish(i, kind, amount, member, id)
  local payload = argument(i, 4)
  local record = payload
  if kind == 120 or kind == 121 then
    local letter_ttl_ms, size, start = string.match(payload, '^(%d+) (%d+) ()')
    local stop = start + tonumber(size)
    record = string.sub(payload, stop)
    local body = redis.call('HGET', messages, id) or ''
    local died_us = time[1] * 1000000 + time[2] + i
    bury(id, body, string.sub(payload, start, stop - 1), #record > 0 and record, tonumber(letter_ttl_ms), died_us)
    has_dead = true
  end
  local is_kept = kind == 100 or kind == 120
  ended[#ended + 1] = {member = member, id = id, record = is_kept and record, ttl_ms = amount, reply = argument(i, 3)}
end

for _, i in ipairs(held) do
  local member, what = members[i], argument(i, 2)
  local id, kind, amount = string.sub(member, 2), string.byte(what), tonumber(string.sub(what, 2)) or 0
  if kind == 114 then
    returned[#returned + 1] = rank(member, tonumber(string.match(argument(i, 1), '%d+$')))
    returned[#returned + 1] = member
  elseif kind == 97 then
    redis.call('HSET', messages, id, argument(i, 4))
    if amount > now then
      later[#later + 1] = amount
      later[#later + 1] = member
    else
      ready[#ready + 1] = member
    end
  else
    finish(i, kind, amount, member, id)
  end
end

if #ended > 0 then
  conclude(ended)
  send_notices()
end
if has_dead then
  forget_faded(now)
  keep_newest(tonumber(ARGV[1]))
end
if #returned > 0 then
  redis.call('ZADD', ahead, unpack(returned))
end
line_up(ready, line, ahead, sequence)
local is_earlier = #later > 0 and schedule(later, due)
if #returned > 0 or #ready > 0 or is_earlier then
  ring(wake)
end
return outdated
