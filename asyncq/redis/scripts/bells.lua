-- The clock, and how consumers are woken, for the scripts that name this file.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Wake one consumer that waits, or the next that would: a second token would wake another one for nothing.
local function ring(bell)
  if redis.call('EXISTS', bell) == 0 then
    redis.call('RPUSH', bell, '1')
  end
end
