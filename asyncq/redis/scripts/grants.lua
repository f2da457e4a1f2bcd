-- The log of a rate limit's grants, for the scripts that name this file; the rules are those of asyncq/limits/log.py.
--
-- `grants:OF` is a list of entries, oldest first: when, the weight that was granted then, and the weight of all up to
-- that one, of which a difference is what a window holds.

local MAX_ENTRIES = 10000

local logs, pauses = {}, {}

local function entry_in(text)
  local at, weight, sum = string.match(text or '', '^(%d+) (%d+) (%d+)$')
  return at and {tonumber(at), tonumber(weight), tonumber(sum)}
end

-- Returns the log of a count, without what does not count any more. What is from the future counts as now.
local function log_of(of, per_ms, now)
  local log = logs[of]
  if log then
    return log
  end
  log = {key = TAG .. ':grants:' .. of, total = 0}
  local first = entry_in(redis.call('LINDEX', log.key, 0))
  while first and first[1] + per_ms < now do
    redis.call('LPOP', log.key)
    first = entry_in(redis.call('LINDEX', log.key, 0))
  end
  if first then
    log.last = entry_in(redis.call('LINDEX', log.key, -1))
    log.total = log.last[3] - first[3] + first[2]
    if log.last[1] > now + math.floor(per_ms / MAX_ENTRIES) + 1 then
      log.last = {now, log.total, log.total}
      redis.call('DEL', log.key)
      redis.call('RPUSH', log.key, string.format('%.0f %.0f %.0f', unpack(log.last)))
      redis.call('PEXPIRE', log.key, 2 * per_ms + 1000)
    end
  end
  logs[of] = log
  return log
end

-- Returns when so much of these entries is gone that nothing is left of the excess.
local function free_at(entries, excess, per_ms, now)
  for _, text in ipairs(entries) do
    local entry = entry_in(text)
    excess = excess - entry[2]
    if excess <= 0 then
      return entry[1] + per_ms + 1
    end
  end
  return now + per_ms + 1
end

local function free_of_burst(log, part_ms, burst, weight, now)
  local recent, total = {}, 0
  for _, text in ipairs(redis.call('LRANGE', log.key, -burst, -1)) do
    local entry = entry_in(text)
    if entry[1] + part_ms >= now then
      recent[#recent + 1] = text
      total = total + entry[2]
    end
  end
  local excess = total + math.min(weight, burst) - burst
  return excess > 0 and free_at(recent, excess, part_ms, now) or 0
end

-- Returns until when a count, or its whole limit, is paused; 0: it is not.
local function paused_until(of, limit)
  local until_ms = pauses[of]
  if not until_ms then
    local found = redis.call('MGET', TAG .. ':paused:' .. limit, TAG .. ':paused:' .. of)
    until_ms = math.max(tonumber(found[1] or 0), tonumber(found[2] or 0))
    pauses[of] = until_ms
  end
  return until_ms
end

-- Returns when this weight may be granted; `now` or earlier: now.
local function turn_at(of, limit, numbers, weight, now)
  local most, per_ms, burst = unpack(numbers)
  local log, at = log_of(of, per_ms, now), paused_until(of, limit)
  local excess = log.total + math.min(weight, most) - most
  if excess > 0 then
    at = math.max(at, free_at(redis.call('LRANGE', log.key, 0, math.min(excess, MAX_ENTRIES) - 1), excess, per_ms, now))
  end
  if burst > 0 and burst < most and log.last then
    at = math.max(at, free_of_burst(log, math.floor(per_ms * burst / most), burst, weight, now))
  end
  return at
end

-- Write a grant down that may be made.
local function grant_turn(of, numbers, weight, now)
  local most, per_ms = unpack(numbers)
  local log, step = log_of(of, per_ms, now), 1
  if most > MAX_ENTRIES then
    step = math.ceil(per_ms / MAX_ENTRIES)
  end
  local at = math.ceil(now / step) * step
  weight = math.min(weight, most)
  local last = log.last
  if last and last[1] >= at then
    log.last = {last[1], last[2] + weight, last[3] + weight}
    redis.call('LSET', log.key, -1, string.format('%.0f %.0f %.0f', unpack(log.last)))
  else
    log.last = {at, weight, (last and last[3] or 0) + weight}
    redis.call('RPUSH', log.key, string.format('%.0f %.0f %.0f', unpack(log.last)))
  end
  log.total = log.total + weight
  if not log.is_kept then
    redis.call('PEXPIRE', log.key, per_ms + step + 1000)
    log.is_kept = true
  end
end
