-- KEYS: prefix
-- NAMED: messages line ahead due suspects crashes wake wake_suspects sequence progress watch dead fading letters result queues uniques unique terms
-- FIRST: fencing notices settle_plain
-- USES: queue suspects returning uniques ending
-- FLAGS: allow-oom
-- ARGV: how many dead letters are kept, and how many settlements there are; then of each its member, its token, what
--       becomes of it, the address to reply to, and a payload; then follow-ups (following.lua). What becomes of it:
--         d, ttl_ms  it is done and has a record: the payload        n  it is done, and nothing is kept
--         x, ttl_ms  it is dead and has a record                     y  it is dead, and only its letter has a record
--                    both with a payload of ttl_ms and size of the reason, each and a space, then reason and record
--         a, due_ms  it runs again, with the payload as its body     r  it is handed back     c  so, with a crash;
--                                                                  with the terms, if it had come without, as payload
-- Returns the numbers, from 0, of those that took no effect; nil or none: all did.
-- LATER: with_letters(bury forget_faded keep_newest) burial
-- LATER: with_follow_ups(publish_follow_ups) known terms groups following
-- LATER: with_limits(free_slots join_lines newest_place returned_place group_in stand_in_lanes) terms groups lanes
local ended, ready, later, returned, tokens = {}, {}, {}, {}, {}
local limits, groups = redis.call('EXISTS', terms) == 1 and with_limits(), nil
if limits then
  local freed = {}
  for i, number in ipairs(held) do
    freed[i] = members[number]
  end
  groups = limits.free_slots(prefix, freed)
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local letters_of = nil -- until somebody is dead

local function finish(i, kind, amount, member, id)
  local payload = argument(i, 4)
  local record = payload
  if kind == 120 or kind == 121 then
    local letter_ttl_ms, size, start = string.match(payload, '^(%d+) (%d+) ()')
    local stop = start + tonumber(size)
    record = string.sub(payload, stop)
    local body = redis.call('HGET', messages, id) or ''
    local died_us = time[1] * 1000000 + time[2] + i
    letters_of = letters_of or with_letters()
    letters_of.bury(id, body, string.sub(payload, start, stop - 1), #record > 0 and record, tonumber(letter_ttl_ms), died_us)
  end
  local is_kept = kind == 100 or kind == 120
  ended[#ended + 1] = {member = member, id = id, record = is_kept and record, ttl_ms = amount, reply = argument(i, 3)}
end

for _, i in ipairs(held) do
  local member, what = members[i], argument(i, 2)
  local id, kind, amount = string.sub(member, 2), string.byte(what), tonumber(string.sub(what, 2)) or 0
  if kind == 114 or kind == 99 then
    if kind == 99 then
      count_crash(crashes, member, nil)
    end
    if argument(i, 4) ~= '' then
      redis.call('HSET', terms, id, argument(i, 4))
      if limits then
        groups[member] = limits.group_in(argument(i, 4))
      end
    end
    returned[#returned + 1] = member
    tokens[member] = argument(i, 1)
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
  if limits then
    local ids = {}
    for i, call in ipairs(ended) do
      ids[i] = call.id
    end
    redis.call('HDEL', terms, unpack(ids))
  end
end
if letters_of then
  letters_of.forget_faded(now)
  letters_of.keep_newest(tonumber(ARGV[1]))
end
local has_ready, has_suspects, has_returned, has_returned_suspects, has_waiting = false, false, false, false, false

-- Let those stand where they wait that need something, or have a group; returns the rest.
local function apart_from_plain(some, place_of)
  some = limits.join_lines(prefix, some, place_of)
  if #some == 0 or not next(groups) then
    return some
  end
  local innocent, others = sift(some, crashes)
  local rest = limits.stand_in_lanes(prefix, innocent, groups, place_of)
  has_waiting = has_waiting or #rest < #innocent
  for _, member in ipairs(others) do
    rest[#rest + 1] = member
  end
  return rest
end

if limits then
  returned = apart_from_plain(returned, limits.returned_place(tokens))
  ready = apart_from_plain(ready, limits.newest_place(prefix))
end
if #returned > 0 then
  has_returned, has_returned_suspects = put_back(returned, tokens, ahead, crashes, suspects)
end
if #ready > 0 then
  has_ready, has_suspects = line_up_apart(ready, line, ahead, sequence, crashes, suspects)
end
local is_earlier = #later > 0 and schedule(later, due)
if has_returned or has_ready or has_waiting or is_earlier then
  ring(wake)
end
if has_returned_suspects or has_suspects then
  ring(wake_suspects)
end
if #ARGV >= end_of_settlements then
  local has_effect = {}
  for _, i in ipairs(held) do
    has_effect[i - 1] = true
  end
  with_follow_ups().publish_follow_ups(end_of_settlements, has_effect, now)
end
return outdated
