-- KEYS: result ended claim queues
-- USES: known ledger
-- ARGV: the queue, for how many ms a claim holds; then of each message its id and its body
-- Returns of each the generation to publish it with; or what has its id (body, record), and that; or claim, the body, and
--       the generation of another message's claim, which holds for as long again.
local queue, ttl_ms, ids, answers = ARGV[1], ARGV[2], {}, {}
for i = 3, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local known, ends, claims = find_known(ids, nil), ends_of(ids), claims_of(ids)
local here = {} -- what was claimed in this very step
for i, id in ipairs(ids) do
  local message = queue .. '\n' .. ARGV[2 * i + 2]
  local claimed = here[id] or claims[i]
  if known[id] then
    answers[i] = known[id]
  elseif claimed and claimed[2] ~= message then
    redis.call('PEXPIRE', claim .. id, ttl_ms)
    answers[i] = {'claim', string.match(claimed[2], '^[^\n]*\n(.*)$'), claimed[1]}
  else
    claimed = claimed or {next_life(ends[i]), message}
    redis.call('SET', claim .. id, claimed[1] .. ' ' .. message, 'PX', ttl_ms)
    here[id] = claimed
    answers[i] = claimed[1]
  end
end
return answers
