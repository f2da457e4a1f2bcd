-- KEYS: messages due orphans crashes generations result ended claim queues ledger uniques unique
-- USES: queue uniques known ledger
-- ARGV: of each call its id, the record in its letter (empty: none), the message for its next life, the term of its unique
--       key (keyed.lua), empty: none, and its priority
-- Returns of each the generation to publish it with; nil: its id, or its key, is another call's.
local WIDTH = 5
local ids, answers = {}, {}
for i = 1, #ARGV, WIDTH do
  ids[#ids + 1] = ARGV[i]
end
local known, ends, claims = find_known(ids, messages), ends_of(ids), claims_of(ids)
local bodies, heard_of = redis.call('HMGET', messages, unpack(ids)), fields_of(generations, ids)

-- Whether the id is another call's: its message that was not reopened, its claim, or a result that its death has not left.
local function is_taken(i, id, record)
  local other = known[id]
  if other and (other[1] == 'body' or other[2] ~= record) then
    return true
  end
  return bodies[i] and not string.find(heard_of[i] or '', 'r', 1, true) or not bodies[i] and claims[i]
end

-- Whether the key is another call's; one that was reopened, and waits, has its own.
local function is_owned(i, id, key)
  local _, _, owner = owner_of(key, unique)
  return not bodies[i] and owner and owner ~= id
end

for i, id in ipairs(ids) do
  local at = (i - 1) * WIDTH + 1
  local record, body = ARGV[at + 1], ARGV[at + 2]
  local how, key = string.match(ARGV[at + 3], '^(%w+) (.*)$')
  if is_taken(i, id, record) or key and is_owned(i, id, key) then
    answers[i] = false
  else
    local generation = bodies[i] and generation_in(heard_of[i]) or next_life(ends[i])
    redis.call('HSET', messages, id, body)
    redis.call('HSET', generations, id, generation .. 'r')
    redis.call('DEL', result .. id)
    redis.call('HDEL', crashes, '0' .. id)
    redis.call('ZREM', due, '0' .. id) -- it may have been given another time since it was reopened
    make_orphan(queue_of(messages, 'messages'), id, ARGV[at + 4], now_ms())
    if key and not bodies[i] then
      take_key(key, unique, uniques, queue_of(messages, 'messages'), id, how, now_ms())
    end
    make_known()
    answers[i] = generation
  end
end
return answers
