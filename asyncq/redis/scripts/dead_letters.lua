-- KEYS: dead fading letters
-- USES: queue burial
-- FLAGS: allow-oom
-- ARGV: how many at most
-- Returns the newest first, each as its id, its time of death in microseconds, its letter.
forget_faded(now_ms())
local found = {}
local newest = redis.call('ZREVRANGE', dead, 0, ARGV[1] - 1, 'WITHSCORES')
for i = 1, #newest, 2 do
  found[#found + 1] = newest[i]
  found[#found + 1] = newest[i + 1]
  found[#found + 1] = redis.call('HGET', letters, newest[i])
end
return found
