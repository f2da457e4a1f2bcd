-- KEYS: messages due running crashes generations progress watch result ended uniques unique terms
-- USES: queue returning fencing uniques ending ledger
-- FLAGS: allow-oom
-- ARGV: for how many ms an end is remembered at the least, and how many settlements there are; then of each as
--       fencing.lua says. What becomes of it:
--         d, ttl_ms  it has ended and has a record: the payload        n  it has ended, and nothing is kept
--         a, due_ms  it runs again, with the payload as its body       r  it is handed back     c  so, with a crash;
--                                                                    with the terms, if it had come without, as payload
-- Returns the numbers, from 0, of those that took no effect.
local members, held, outdated = acknowledge(tonumber(ARGV[2]), running)
if #held == 0 then
  return outdated
end

-- LATER: with_limits(prefix_by free_slots) terms lanes
local now, calls, later = now_ms(), {}, {}
local needed = {} -- what those of the calls need that need something, by id
if redis.call('EXISTS', terms) == 1 then
  local limits, ids, freed = with_limits(), {}, {}
  for i, number in ipairs(held) do
    freed[i], ids[i] = members[number], string.sub(members[number], 2)
  end
  limits.free_slots(limits.prefix_by(messages, 'messages'), freed)
  for i, text in ipairs(redis.call('HMGET', terms, unpack(ids))) do
    needed[ids[i]] = text or nil
  end
end

local function send_on(i, id, due_ms)
  redis.call('HSET', messages, id, argument(i, 4))
  redis.call('HINCRBY', generations, id, 1)
  if due_ms > now then
    later[#later + 1] = due_ms
    later[#later + 1] = members[i]
  end
end

for _, i in ipairs(held) do
  local member, what = members[i], argument(i, 2)
  local id, kind, amount = string.sub(member, 2), string.byte(what), tonumber(string.sub(what, 2)) or 0
  if kind == 97 then
    send_on(i, id, amount)
  elseif kind == 99 or kind == 114 then
    if kind == 99 then
      count_crash(crashes, member, nil)
    end
    if argument(i, 4) ~= '' then
      redis.call('HSET', terms, id, argument(i, 4))
    end
  else
    calls[#calls + 1] = {
      member = member, id = id, record = kind == 100 and argument(i, 4), ttl_ms = amount, reply = argument(i, 3),
      needs = needed[id],
    }
  end
end
if #later > 0 then
  redis.call('ZADD', due, unpack(later))
end
if #calls > 0 then
  conclude_for_good(calls, tonumber(ARGV[1]))
  send_notices()
end
return outdated
