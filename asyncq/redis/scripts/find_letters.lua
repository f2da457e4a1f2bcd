-- KEYS: dead fading letters
-- USES: queue
-- ARGV: ids
-- Returns of each its place (time of death in microseconds) and its letter; nil: there is none.
local after, found = now_ms(), {}
for i, id in ipairs(ARGV) do
  local is_kept = tonumber(redis.call('ZSCORE', fading, id) or 0) > after
  found[i] = is_kept and {redis.call('ZSCORE', dead, id), redis.call('HGET', letters, id)}
end
return found
