-- KEYS: claim
-- FLAGS: allow-oom
-- ARGV: the queue; then of each message its id and its body
-- Returns nothing. Claims of others are left as they are.
for i = 2, #ARGV, 2 do
  local key = claim .. ARGV[i]
  if redis.call('GET', key) == ARGV[1] .. '\n' .. ARGV[i + 1] then
    redis.call('DEL', key)
  end
end
