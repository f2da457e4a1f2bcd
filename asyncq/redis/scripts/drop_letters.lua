-- KEYS: dead fading letters
-- USES: queue burial
-- FLAGS: allow-oom
-- ARGV: 1 or 0 for a call that is repeated because its reply was lost; then of each letter its id and its place
-- Returns of each 1 or 0: it was there.
local after, dropped, ids = now_ms(), {}, {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local is_there = redis.call('ZSCORE', dead, id) == ARGV[i + 1]
  if is_there then
    is_there = tonumber(redis.call('ZSCORE', fading, id) or 0) > after
    ids[#ids + 1] = id
  else
    is_there = ARGV[1] == '1'
  end
  dropped[#dropped + 1] = is_there and 1 or 0
end
forget(ids)
return dropped
