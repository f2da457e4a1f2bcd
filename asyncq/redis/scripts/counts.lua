-- KEYS: messages due running fading
-- USES: queue
-- Returns how many messages are ready, scheduled, running, dead.
local after = string.format('(%.0f', now_ms())
local scheduled = redis.call('ZCOUNT', due, after, '+inf')
local lent = redis.call('HLEN', running)
local ready = redis.call('HLEN', messages) - lent - scheduled
return {ready, scheduled, lent, redis.call('ZCOUNT', fading, after, '+inf')}
