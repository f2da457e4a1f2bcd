-- How dead letters are kept, for the scripts that name this file.
--
-- `dead` orders them by the time of death in microseconds, which no two of a queue share; `fading` by the time in
-- milliseconds until which they are kept; `letters` holds them: sizes of body and reason, 1 or 0 for a record or none,
-- a line feed, body, reason, record.

local function forget(ids)
  if #ids > 0 then
    redis.call('ZREM', dead, unpack(ids))
    redis.call('ZREM', fading, unpack(ids))
    redis.call('HDEL', letters, unpack(ids))
  end
end

local function forget_faded(now)
  forget(redis.call('ZRANGEBYSCORE', fading, '-inf', now, 'LIMIT', 0, 1000))
end

local function bury(id, body, reason, record, ttl_ms, died_us)
  local head = #body .. ' ' .. #reason .. ' ' .. (record and 1 or 0)
  redis.call('HSET', letters, id, head .. '\n' .. body .. reason .. (record or ''))
  local newest = redis.call('ZREVRANGE', dead, 0, 0, 'WITHSCORES')[2]
  redis.call('ZADD', dead, string.format('%.0f', math.max(died_us, (newest or 0) + 1)), id)
  redis.call('ZADD', fading, math.floor(died_us / 1000) + ttl_ms, id)
  for _, key in ipairs({dead, fading, letters}) do
    if redis.call('PTTL', key) < ttl_ms then
      redis.call('PEXPIRE', key, ttl_ms)
    end
  end
end

local function keep_newest(count)
  local excess = math.min(redis.call('ZCARD', dead) - count, 1000)
  if excess > 0 then
    forget(redis.call('ZRANGE', dead, 0, excess - 1))
  end
end
