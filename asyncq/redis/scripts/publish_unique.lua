-- KEYS: messages line ahead due running wake sequence queues uniques unique
-- USES: queue suspects severing leaving terms groups lanes moving known uniques
-- ARGV: how many may wait (0: any number); then of each message its member, its body, f (its id is fresh) or k (its id may
--       be known) with its due time in ms, 0: at once, and behind a space the terms of one that has any; its unique key;
--       how it is given back (uniques.lua); and what becomes of a call that has it and waits: empty, or r (it is replaced)
--       or m (and put off) with where in the body the id begins, where it ends, and how many ms after the key was taken it
--       is due at the latest, 0: any time
-- Returns of each message that was not published: its number from 0, what stands in the way (body, record, owner, full), and
--       that; of an owner its queue, a line feed, its id.
-- `publish` for messages that have unique keys: each after the other, for one may be in the way of the next.
local WIDTH = 6
local longest = tonumber(ARGV[1])
local waiting = longest > 0 and redis.call('HLEN', messages) - redis.call('HLEN', running) or 0
local own_queue, now, refused = queue_of(messages, 'messages'), now_ms(), {}
local prefix = prefix_by(messages, 'messages')
local is_earlier, has_ready = false, false

local function refuse(i, why, what)
  refused[#refused + 1] = (i - 2) / WIDTH
  refused[#refused + 1] = why
  refused[#refused + 1] = what
end

local function keys_of(queue)
  local key = {}
  for _, name in ipairs({
    'messages', 'line', 'ahead', 'due', 'suspects', 'running', 'crashes', 'withdrawn', 'wake', 'wake_suspects', 'sequence',
    'terms', 'stands',
  }) do
    key[name] = prefix_of(queue) .. name
  end
  return key
end

-- Returns the due time of a message, and its terms; empty: it has none.
local function due_and_terms(extra)
  local due_ms, terms = string.match(extra, '^.(%d+) ?(.*)$')
  return tonumber(due_ms), terms
end

-- Let the call that has the key be what this one would have been, if it waits.
local function replace(i, taken_ms, queue, id)
  local how, start, stop, longest_ms = string.match(ARGV[i + 5], '^(%a)(%d+) (%d+) (%d+)$')
  local due_ms, terms = due_and_terms(ARGV[i + 2])
  local key, members = keys_of(queue), members_of(id)
  if not how or lent_as(members, key.running) then
    return
  end
  local body = ARGV[i + 1]
  local renamed = string.sub(body, 1, tonumber(start)) .. cjson.encode(id) .. string.sub(body, tonumber(stop) + 1)
  redis.call('HSET', key.messages, id, renamed)
  change_terms(members, key, id, terms)
  if how == 'm' then
    local last_ms = taken_ms + tonumber(longest_ms)
    due_ms = tonumber(longest_ms) > 0 and math.min(due_ms, last_ms) or due_ms
    local _, set = standing_in(members, key)
    if due_ms > now or set == key.due then
      move(members, key, due_ms, now)
    end
  end
end

local unsure = {}
for i = 2, #ARGV, WIDTH do
  if string.byte(ARGV[i + 2]) == 107 then
    unsure[#unsure + 1] = string.sub(ARGV[i], 2)
  end
end
local known = #unsure > 0 and find_known(unsure, messages) or {}

for i = 2, #ARGV, WIDTH do
  local member, key = ARGV[i], ARGV[i + 3]
  local id, due_ms, terms = string.sub(member, 2), due_and_terms(ARGV[i + 2])
  local body = not known[id] and redis.call('HGET', messages, id)
  local taken_ms, queue, owner, is_there
  if not known[id] and not body then
    taken_ms, queue, owner, is_there = owner_of(key, unique)
  end
  if known[id] then
    refuse(i, known[id][1], known[id][2])
  elseif body then
    refuse(i, 'body', body)
  elseif owner then
    refuse(i, 'owner', queue .. '\n' .. owner)
    if is_there then
      replace(i, taken_ms, queue, owner)
    end
  elseif longest > 0 and waiting >= longest then
    refuse(i, 'full', waiting)
  else
    waiting = waiting + 1
    redis.call('HSET', messages, id, ARGV[i + 1])
    take_key(key, unique, uniques, own_queue, id, ARGV[i + 4], now)
    if terms ~= '' then
      redis.call('HSET', prefix .. 'terms', id, terms)
    end
    if due_ms > now then
      is_earlier = schedule({due_ms, member}, due) or is_earlier
    elseif terms == '' or #join_lines(prefix, {member}, newest_place(prefix)) > 0 then
      line_up(stand_in_lanes(prefix, {member}, {[member] = group_in(terms)}, newest_in_lane), line, ahead, sequence)
      has_ready = true
    end
  end
end
if has_ready or is_earlier then
  ring(wake)
end
return refused
