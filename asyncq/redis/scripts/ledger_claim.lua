-- KEYS: claim ended queues
-- USES: known
-- ARGV: the queue, for how many ms a claim holds; then of each message its id and its body
-- Returns of each id that is taken its number from 0, what has it (body, record), and that.
local queue, ttl_ms, ids, taken = ARGV[1], ARGV[2], {}, {}
for i = 3, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local known = find_known(ids, nil)

local function refuse(i, why, what)
  taken[#taken + 1] = i - 1
  taken[#taken + 1] = why
  taken[#taken + 1] = what
end

-- What was claimed may run, and even end, before anybody notes it: an end that came after the claim closes it. For the
-- same message it is open all the same: a second copy of it is not wanted.
for i, id in ipairs(ids) do
  local body = ARGV[2 * i + 2]
  local wanted = queue .. '\n' .. body
  local claimed = redis.call('GET', claim .. id)
  if known[id] then
    refuse(i, known[id][1], known[id][2])
  elseif claimed and claimed ~= wanted and redis.call('EXISTS', ended .. id) == 0 then
    refuse(i, 'body', string.match(claimed, '^[^\n]*\n(.*)$'))
  else
    redis.call('SET', claim .. id, wanted, 'PX', ttl_ms)
    if claimed ~= wanted then
      redis.call('DEL', ended .. id)
    end
  end
end
return taken
