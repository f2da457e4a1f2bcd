-- KEYS: messages due running fading stands
-- USES: queue
-- Returns how many messages are ready, scheduled, running, dead, and waiting in the lines of limits.
local after = string.format('(%.0f', now_ms())
local scheduled = redis.call('ZCOUNT', due, after, '+inf')
local lent = redis.call('HLEN', running)
local waiting = redis.call('HLEN', stands)
local ready = redis.call('HLEN', messages) - lent - scheduled - waiting
return {ready, scheduled, lent, redis.call('ZCOUNT', fading, after, '+inf'), waiting}
