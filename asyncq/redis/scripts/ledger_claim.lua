-- KEYS: result ended claim queues unique orphans
-- USES: queue uniques known ledger keyed
-- ARGV: the queue, for how many ms a claim holds; then of each message its id, its body, its unique key (empty: none),
--       how that is given back (uniques.lua), and what becomes of a call that has it and waits: empty, or r (it is
--       replaced) or m (and put off) with where in the body the id begins, where it ends, how many ms after the key was
--       taken it is due at the latest, 0: any time; the due time in ms; the priority; and behind a space the terms of
--       one that has any
-- Returns of each the generation to publish it with; or what has its id (body, record), and that; or claim, the body,
--       and the generation of another message's claim, which holds for as long again, and where it has the key, its
--       queue and id; or who has the key: owner, queue, id; and, replaced, also the body, generation and due time of
--       what it is now.
local WIDTH = 5
local queue, ttl_ms, now, ids, answers = ARGV[1], ARGV[2], now_ms(), {}, {}
for i = 3, #ARGV, WIDTH do
  ids[#ids + 1] = ARGV[i]
end
local known, ends, claims = find_known(ids, nil), ends_of(ids), claims_of(ids)
local here = {} -- what was claimed in this very step
-- LATER: with_limits(need) terms groups lanes replacing

-- Let the call that has a key be what this one would have been, if it waits. Returns body, generation and due time.
local function replace(i, taken_ms, owner_queue, owner)
  local how, first, stop, longest_ms, due, priority = string.match(ARGV[i + 4], '^(%a)(%d+) (%d+) (%d+) (%d+) (%d)')
  local prefix, member = prefix_of(owner_queue), '0' .. owner
  if not how or redis.call('HEXISTS', prefix .. 'running', member) == 1 then
    return nil
  end
  local body, due_ms = ARGV[i + 1], tonumber(due)
  local renamed = string.sub(body, 1, tonumber(first)) .. cjson.encode(owner) .. string.sub(body, tonumber(stop) + 1)
  remember_copy(prefix, owner, now)
  redis.call('HSET', prefix .. 'messages', owner, renamed)
  known[owner] = known[owner] and {'body', renamed}
  local terms = string.match(ARGV[i + 4], '^%a%d+ %d+ %d+ %d+ %d ?(.*)$')
  if terms ~= '' or redis.call('EXISTS', prefix .. 'terms') == 1 then
    with_limits().need(prefix, member, terms, how == 'm')
  end
  if how == 'm' then
    local last_ms = taken_ms + tonumber(longest_ms)
    due_ms = tonumber(longest_ms) > 0 and math.min(due_ms, last_ms) or due_ms
    wait_until(prefix, member, due_ms, now)
  end
  return renamed, send_on(prefix, owner_queue, owner, priority, now)
end

-- Returns what is answered where another has the key; nil: nobody does.
local function owned(i)
  if ARGV[i + 2] == '' then
    return nil
  end
  local taken_ms, owner_queue, owner, is_there = owner_of(ARGV[i + 2], unique)
  if not owner then
    return nil
  end
  local claimed = not is_there and claims_of({owner})[1]
  if claimed then
    hold(owner, claimed, ttl_ms)
    return {'claim', string.match(claimed[2], '^[^\n]*\n(.*)$'), claimed[1], owner_queue, owner}
  end
  local body, generation, due_ms
  if is_there then
    body, generation, due_ms = replace(i, taken_ms, owner_queue, owner)
  end
  return body and {'replaced', owner_queue, owner, body, generation, due_ms} or {'owner', owner_queue, owner}
end

for n, id in ipairs(ids) do
  local i = 3 + (n - 1) * WIDTH
  local message, key, how = queue .. '\n' .. ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local claimed = here[id] or claims[n]
  local other = not known[id] and not claimed and owned(i)
  if known[id] then
    answers[n] = known[id]
  elseif other then
    answers[n] = other
  elseif claimed then
    hold(id, claimed, ttl_ms)
    answers[n] = claimed[2] == message and claimed[1]
      or {'claim', string.match(claimed[2], '^[^\n]*\n(.*)$'), claimed[1]}
  else
    claimed = {next_life(ends[n]), message, key ~= '' and how .. ' ' .. key or ''}
    here[id] = claimed
    redis.call('SET', claim .. id, claim_of(claimed), 'PX', ttl_ms)
    if key ~= '' then
      redis.call('SET', unique .. key, string.format('%.0f', now) .. ' ' .. queue .. '\n' .. id, 'PX', ttl_ms)
    end
    answers[n] = claimed[1]
  end
end
return answers
