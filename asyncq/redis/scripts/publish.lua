-- KEYS: messages line ahead due running wake sequence queues
-- USES: queue known terms groups lanes
-- ARGV: how many may wait (0: any number); then of each message its member, its body, and '' or
--       f (its id is fresh) or k (its id may be known) with its due time in ms, 0: at once,
--       and behind a space the terms of one that has any
-- Returns of each message that was not published: its number from 0, what stands in the way (body, record, full), and that.
local longest = tonumber(ARGV[1])
local waiting = longest > 0 and redis.call('HLEN', messages) - redis.call('HLEN', running) or 0
local ready, later, refused, now = {}, {}, {}, nil

local function refuse(i, why, what)
  refused[#refused + 1] = (i - 2) / 3
  refused[#refused + 1] = why
  refused[#refused + 1] = what
end

local prefix = prefix_by(messages, 'messages')
local has_terms, groups = false, nil

local function place(member, due_ms)
  if due_ms > 0 then
    now = now or now_ms()
    if due_ms > now then
      later[#later + 1] = due_ms
      later[#later + 1] = member
      return
    end
  end
  ready[#ready + 1] = member
end

local unsure = {}
for i = 2, #ARGV, 3 do
  if string.byte(ARGV[i + 2]) == 107 then
    unsure[#unsure + 1] = string.sub(ARGV[i], 2)
  end
end
local known = #unsure > 0 and find_known(unsure, messages) or {}

for i = 2, #ARGV, 3 do
  local member, extra = ARGV[i], ARGV[i + 2]
  local id = string.sub(member, 2)
  local is_full = longest > 0 and waiting >= longest
  if known[id] then
    refuse(i, known[id][1], known[id][2])
  elseif is_full and redis.call('HEXISTS', messages, id) == 0 then
    refuse(i, 'full', waiting)
  elseif is_full or redis.call('HSETNX', messages, id, ARGV[i + 1]) == 0 then
    refuse(i, 'body', redis.call('HGET', messages, id))
  else
    waiting = waiting + 1
    local due_ms, terms = string.match(extra, '^.(%d+) ?(.*)$')
    if terms and terms ~= '' then
      redis.call('HSET', prefix .. 'terms', id, terms)
      has_terms = true
      local group = group_in(terms)
      if group ~= '' then
        groups = groups or {}
        groups[member] = group
      end
    end
    place(member, tonumber(due_ms or 0))
  end
end

if has_terms then
  ready = join_lines(prefix, ready, newest_place(prefix))
end
local has_ready = #ready > 0
if groups then
  ready = stand_in_lanes(prefix, ready, groups, newest_in_lane)
end
line_up(ready, line, ahead, sequence)
local is_earlier = #later > 0 and schedule(later, due)
if has_ready or is_earlier then
  ring(wake)
end
return refused
