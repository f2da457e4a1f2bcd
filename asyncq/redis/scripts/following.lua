-- How follow-ups are published, for the scripts that name this file (behind groups.lua): as part of the settlement that
-- they follow.

local FOLLOW_UP_WIDTH, FOLLOW_UPS_AT_ONCE = 5, 500

-- Publish in one queue what is not known yet, whatever waits there: a follow-up that is refused would be lost.
local function publish_in(queue, follow_ups, now)
  local prefix, unsure = prefix_of(queue), {}
  for _, follow_up in ipairs(follow_ups) do
    if not follow_up.is_fresh then
      unsure[#unsure + 1] = follow_up.id
    end
  end
  local known = #unsure > 0 and find_known(unsure, prefix .. 'messages') or {}
  local ready, later, groups = {}, {}, {}
  for _, follow_up in ipairs(follow_ups) do
    local id, due_ms = follow_up.id, follow_up.due_ms
    if not known[id] and redis.call('HSETNX', prefix .. 'messages', id, follow_up.body) == 1 then
      if follow_up.terms ~= '' then
        redis.call('HSET', prefix .. 'terms', id, follow_up.terms)
        groups[follow_up.member] = group_in(follow_up.terms)
      end
      if due_ms > now then
        later[#later + 1] = due_ms
        later[#later + 1] = follow_up.member
      else
        ready[#ready + 1] = follow_up.member
      end
    end
  end
  redis.call('SADD', queues, queue)
  local plain = stand_in_lanes(prefix, ready, groups, newest_in_lane)
  line_up(plain, prefix .. 'line', prefix .. 'ahead', prefix .. 'sequence')
  local is_earlier = #later > 0 and schedule(later, prefix .. 'due')
  if #ready > 0 or is_earlier then
    ring(prefix .. 'wake')
  end
end

-- Returns the due time of a message in ms, and its terms, which stand behind a space; empty: it has none.
local function due_and_terms(text)
  local due_ms, terms = string.match(text, '^(%d+) ?(.*)$')
  return tonumber(due_ms), terms
end

-- Publish what stands in ARGV from here on, each as the number of its settlement, its queue, its member, f (its id is
-- fresh) or k (it may be known) with its due time in ms, and behind a space the terms of one that has any, and its body;
-- those of settlements that took effect.
local function publish_follow_ups(start, has_effect, now)
  local queue, follow_ups = nil, {}
  for i = start, #ARGV, FOLLOW_UP_WIDTH do
    if has_effect[tonumber(ARGV[i])] then
      if #follow_ups == FOLLOW_UPS_AT_ONCE or ARGV[i + 1] ~= queue and queue then
        publish_in(queue, follow_ups, now)
        follow_ups = {}
      end
      queue = ARGV[i + 1]
      local due_ms, terms = due_and_terms(string.sub(ARGV[i + 3], 2))
      follow_ups[#follow_ups + 1] = {
        member = ARGV[i + 2], id = string.sub(ARGV[i + 2], 2), body = ARGV[i + 4],
        is_fresh = string.byte(ARGV[i + 3]) == 102, due_ms = due_ms, terms = terms,
      }
    end
  end
  if queue then
    publish_in(queue, follow_ups, now)
  end
end
