-- KEYS: claim unique
-- USES: queue uniques ledger keyed
-- FLAGS: allow-oom
-- ARGV: the queue; then of each message its id and its body
-- Returns nothing. Claims of others are left as they are.
local ids = {}
for i = 2, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
for i, claimed in ipairs(claims_of(ids)) do
  if claimed and claimed[2] == ARGV[1] .. '\n' .. ARGV[2 * i + 1] then
    redis.call('DEL', claim .. ids[i], claimed_key(ids[i], claimed) or claim .. ids[i])
  end
end
