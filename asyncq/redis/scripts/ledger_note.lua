-- KEYS: messages due generations result ended claim queues ledger uniques unique terms
-- USES: queue uniques known ledger keyed
-- ARGV: of each message its id, its body, and '' or f (its id is fresh) or k (it may be claimed) with its due time in
--       ms; where it has terms t and their size; and behind a space these and the term of its unique key (keyed.lua),
--       as far as it has any
-- Returns nothing. What is known, or has ended, is left as it is; what was claimed is in the generation of the claim.
--       What becomes a call ends every claim of its id.
local queue = queue_of(messages, 'messages')
local ids, unknown, numbers, unsure = {}, {}, {}, {}
for i = 1, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
end
for n, body in ipairs(redis.call('HMGET', messages, unpack(ids))) do
  if not body then
    unknown[#unknown + 1] = ids[n]
    numbers[#numbers + 1] = n
    if string.byte(ARGV[3 * n]) == 107 then
      unsure[#unsure + 1] = ids[n]
    end
  end
end

local claims = {}
for i, claimed in ipairs(claims_of(unsure)) do
  claims[unsure[i]] = claimed
end
local noted, later, sent_on, closed, now = {}, {}, {}, {}, now_ms()
local confirmed, lapsed = {}, {} -- the terms of keys that are theirs, or were
local needed = {} -- what calls need
for i, generation in ipairs(ends_of(unknown)) do
  local id, at = unknown[i], 3 * numbers[i] - 2
  local body, due, told, rest = ARGV[at + 1], string.match(ARGV[at + 2], '^.(%d+)t?(%d*) ?(.*)$')
  local due_ms, size = tonumber(due) or 0, tonumber(told) or 0
  local term = string.sub(rest or '', size + 1)
  local is_claimed = claims[id] and claims[id][2] == queue .. '\n' .. body
  if is_claimed and claims[id][1] > 0 then
    sent_on[#sent_on + 1] = id
    sent_on[#sent_on + 1] = claims[id][1]
  end
  if is_claimed or not generation then
    if claims[id] and claims[id][3] ~= '' then
      confirmed[id] = claims[id][3]
    elseif not claims[id] and term and term ~= '' then
      lapsed[#lapsed + 1] = {id, term}
    end
    if claims[id] then
      closed[#closed + 1] = claim .. id
    end
    noted[#noted + 1] = id
    noted[#noted + 1] = body
    if size > 0 then
      needed[#needed + 1] = id
      needed[#needed + 1] = string.sub(rest, 1, size)
    end
    if due_ms > now then
      later[#later + 1] = due_ms
      later[#later + 1] = '0' .. id
    end
  end
end
if #noted > 0 then
  redis.call('HSET', messages, unpack(noted))
end
if #needed > 0 then
  redis.call('HSET', terms, unpack(needed))
end
if #later > 0 then
  redis.call('ZADD', due, unpack(later))
end
if #sent_on > 0 then
  redis.call('HSET', generations, unpack(sent_on))
end
if #closed > 0 then
  redis.call('DEL', unpack(closed))
end
for id, term in pairs(confirmed) do
  confirm_key(id, term)
end
for _, pair in ipairs(lapsed) do
  local id, how, key = pair[1], string.match(pair[2], '^(%w+) (.*)$')
  if not owner_of(key, unique) then
    take_key(key, unique, uniques, queue, id, how, now)
  end
end
make_known()
