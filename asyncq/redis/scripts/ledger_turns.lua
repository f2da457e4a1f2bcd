-- KEYS* consumer messages running crashes due turns terms wake generations orphans uniques unique
-- USES: queue suspects uniques terms grants holders admitting groups lanes parking
-- FLAGS: allow-oom
-- ARGV: name of the consumer, number of this take, how many in all, how many suspects among them; then of each queue
--       how many at most
-- Returns -1: the consumer is no member (any more), or has given this take up. Else
--       {when the first line is to be asked for, in ms (empty: nobody can say; 0: at once), 1 or 0 for whether there are
--        lines,
--        then of each queue: its members, with the digits of their priorities, their bodies, their tokens, their crashes (0:
--        none), negative if some are in a name, their generations, and their terms}.
-- Lends what waits in lines whose time has come: lines take turns, and in each its groups do. What is left calls others.
local WIDTH, MOVES, SUSPECTS, LANES, PUT_OFF_MS = 12, 500, 2000, 1000, 1000
local name, number, left, suspects_left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now, count, first_due = now_ms(), 0, nil

local memberships, lines = {}, {}
for at = 0, #KEYS - 1, WIDTH do
  memberships[#memberships + 1] = KEYS[at + 1] .. name
  lines[#lines + 1] = KEYS[at + 6]
end
for _, lowest in ipairs(redis.call('MGET', unpack(memberships))) do
  if not lowest or number < tonumber(lowest) then
    for at = 0, #KEYS - 1, WIDTH do
      if redis.call('EXISTS', KEYS[at + 6]) == 1 then
        ring(KEYS[at + 8]) -- it has eaten the token that woke it: somebody else has to see what there is
      end
    end
    return -1
  end
end
if redis.call('EXISTS', unpack(lines)) == 0 then
  return {'', 0}
end

local function names_of(at)
  local prefix = prefix_by(KEYS[at + 2], 'messages')
  return {
    has_lanes = redis.call('EXISTS', prefix .. 'laned') == 1,
    messages = KEYS[at + 2], running = KEYS[at + 3], crashes = KEYS[at + 4], due = KEYS[at + 5], turns = KEYS[at + 6],
    terms = KEYS[at + 7], wake = KEYS[at + 8], generations = KEYS[at + 9], orphans = KEYS[at + 10],
    uniques = KEYS[at + 11], unique = KEYS[at + 12], prefix = prefix,
  }
end

local passed = {} -- of each lane, how many suspects are passed over that stand at its head

-- Returns the first in a lane that may be taken, its place, and its crashes; nil: there is none.
local function head_of_lane(key, of, group)
  local lane = part_of_line(key.prefix, of, group)
  if suspects_left > 0 then
    local found = redis.call('ZRANGE', lane, 0, 0, 'WITHSCORES')
    return found[1], found[2], found[1] and redis.call('HGET', key.crashes, found[1])
  end
  local first, size = passed[lane] or 0, 4
  while first < SUSPECTS do
    local found, members = redis.call('ZRANGE', lane, first, first + size - 1, 'WITHSCORES'), {}
    for i = 1, #found, 2 do
      members[#members + 1] = found[i]
    end
    for i, crash in ipairs(#members > 0 and redis.call('HMGET', key.crashes, unpack(members)) or {}) do
      if times_in(crash or nil) < SUSPECT_CRASHES then
        return members[i], found[2 * i], crash
      end
      first = first + 1
      passed[lane] = first
    end
    if #members < size then
      return nil
    end
    size = 2 * size
  end
end

-- Returns the first in line that may be taken, its place, its crashes and its group; nil: there is none. A lane of suspects
-- that is passed over has had its turn: else the next would meet it again.
local function head_of(key, of)
  local lanes, is_passed = lanes_of(key.prefix, of), {}
  for _ = 1, LANES do
    local group = key.has_lanes and redis.call('ZRANGE', lanes, 0, 0)[1] or ''
    local member, place, crash = head_of_lane(key, of, group)
    if member then
      return member, place, crash, group
    elseif is_passed[group] then
      return nil
    end
    is_passed[group] = true
    if group == '' and not has_plain(key.prefix, of) then
      redis.call('ZREM', lanes, group) -- who stands behind it is the first
    else
      redis.call('ZADD', lanes, 'XX', last_turn(lanes) + 1, group)
    end
  end
end

-- Let the first leave its line, whose lane has had its turn.
local function leave_in_turn(key, of, member, group)
  leave_line_of(key.prefix, of, member, group)
  if key.has_lanes then
    local lanes = lanes_of(key.prefix, of)
    redis.call('ZADD', lanes, 'XX', last_turn(lanes) + 1, group)
  end
end

local function lend(key, member, crash, text, lists)
  local id = string.sub(member, 2)
  local heard = redis.call('HGET', key.generations, id) or '0'
  local priority = priority_in(text)
  local token = string.format('%s/%s/%d%d', name, ARGV[2], count, priority)
  redis.call('HSET', key.running, member, token)
  redis.call('ZREM', key.due, member)
  redis.call('ZREM', key.orphans, string.match(key.prefix, '}:q:(.*):$') .. ' ' .. id)
  local generation = string.match(heard, '^%d+')
  if generation ~= heard then
    redis.call('HSET', key.generations, id, generation)
  end
  if redis.call('EXISTS', key.uniques) == 1 then
    give_back({id}, key.unique, key.uniques, 's')
  end
  local words = {priority .. id, redis.call('HGET', key.messages, id), token, told_of(crash) or 0, generation, text}
  for i, word in ipairs(words) do
    table.insert(lists[i], word)
  end
  count = count + 1
end

-- Returns whether there may be more than one question moves.
local function serve(key, most, lists)
  local until_count = count + most
  for move = 1, MOVES do
    local first = count < until_count and redis.call('ZRANGE', key.turns, 0, 0, 'WITHSCORES') or {}
    if not first[2] or tonumber(first[2]) >= now + 1 then
      return
    end
    local of = first[1]
    local member, place, crash, group = head_of(key, of)
    if not member then -- nobody stands there; or suspects do, and others may have time for one
      local is_empty = redis.call('EXISTS', key.prefix .. 'turn:' .. of, lanes_of(key.prefix, of)) == 0
      redis.call(is_empty and 'ZREM' or 'ZADD', key.turns, unpack(is_empty and {of} or {now + PUT_OFF_MS, of}))
    else
      local id = string.sub(member, 2)
      local text = redis.call('HGET', key.terms, id)
      local needs = text and read_terms(text) or {}
      local lacking, at = of == OWN and line_of_one(key.prefix, needs) or nil, nil
      if not lacking then
        lacking, at = admit(needs, holder_of(key.prefix, member), nil, now)
      end
      if lacking == of then
        redis.call('ZADD', key.turns, at, of)
      else
        leave_in_turn(key, of, member, group)
        redis.call('ZADD', key.turns, 'XX', now + move / 1000, of)
        if lacking then
          wait_in_line(key.prefix, lacking, member, place, at, group)
          key.has_lanes = key.has_lanes or group ~= ''
        elseif redis.call('HEXISTS', key.messages, id) == 1 then
          forget_expiry(needs, key.terms, id, text)
          suspects_left = suspects_left - (times_in(crash or nil) >= SUSPECT_CRASHES and 1 or 0)
          lend(key, member, crash, text or '', lists)
        end
      end
    end
  end
  return true
end

local reply, is_cut = {'', 0}, false
for at = 0, #KEYS - 1, WIDTH do
  local key, lists, before = names_of(at), {{}, {}, {}, {}, {}, {}}, count
  is_cut = serve(key, math.min(left, tonumber(ARGV[5 + at / WIDTH])), lists) or is_cut
  left = left - (count - before)
  for _, list in ipairs(lists) do
    reply[#reply + 1] = list
  end
  local first = redis.call('ZRANGE', key.turns, 0, 0, 'WITHSCORES')[2]
  if first and tonumber(first) < now + 1 then
    ring(key.wake) -- there is more, for whoever has time
  else
    redis.call('DEL', key.wake)
  end
  reply[2] = first and 1 or reply[2]
  if first and first ~= 'inf' and (not first_due or tonumber(first) < first_due) then
    first_due, reply[1] = tonumber(first), first
  end
end
if is_cut then
  reply[1] = '0'
end
return reply
