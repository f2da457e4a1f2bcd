-- KEYS: messages crashes generations result ended claim queues ledger
-- USES: known ledger
-- ARGV: of each call its id, the record in its letter (empty: none), and the message for its next life
-- Returns of each the generation to publish it with; nil: its id is another call's.
local ids, answers = {}, {}
for i = 1, #ARGV, 3 do
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

for i, id in ipairs(ids) do
  local record, body = ARGV[3 * i - 1], ARGV[3 * i]
  if is_taken(i, id, record) then
    answers[i] = false
  else
    local generation = bodies[i] and generation_in(heard_of[i]) or next_life(ends[i])
    redis.call('HSET', messages, id, body)
    redis.call('HSET', generations, id, generation .. 'r')
    redis.call('DEL', result .. id)
    redis.call('HDEL', crashes, '0' .. id)
    make_known()
    answers[i] = generation
  end
end
return answers
