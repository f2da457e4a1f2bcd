-- KEYS: unique
-- USES: uniques
-- FLAGS: allow-oom
-- ARGV: a unique key
-- Returns 1, 0: nobody had it. The call that did finds another's, or nothing, when it would give it back.
local is_taken = owner_of(ARGV[1], unique)
redis.call('DEL', unique .. ARGV[1])
return is_taken and 1 or 0
