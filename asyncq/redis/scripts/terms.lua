-- What calls need before they are lent, for the scripts that name this file.
--
-- A count of a limit is called `rate NAME KEY` or `slots NAME KEY`, where NAME has no space; the limit itself
-- `rate NAME` or `slots NAME`.

local TAG = string.match(KEYS[1], '^{.*}')

-- Returns how the keys of a queue begin, by one of them and its name.
local function prefix_by(key, name)
  return string.sub(key, 1, -#name - 1)
end

local function terms_in(text)
  local decoded = cjson.decode(text)
  local terms = {expires_ms = tonumber(decoded.expires_ms), group = decoded.group}
  for _, slot in ipairs(decoded.slots or {}) do
    local limit = 'slots ' .. slot[1]
    terms[#terms + 1] = {of = limit .. ' ' .. slot[2], limit = limit}
  end
  for _, rate in ipairs(decoded.rates or {}) do
    local limit = 'rate ' .. rate[1]
    terms[#terms + 1] = {of = limit .. ' ' .. rate[2], limit = limit, weight = tonumber(rate[3]) or 1}
  end
  return terms
end

-- Returns the terms of a call in the order in which they are asked for, each as {of, limit, weight}; slots have no
-- weight; and with `expires_ms` where the call expires and was never lent, and its `group` where it has one. What
-- cannot be read is none: the worker hands the call back with what it needs.
local function read_terms(text)
  local can_be_read, terms = pcall(terms_in, text)
  return can_be_read and terms or {}
end

local numbers_by_limit = {}

-- Returns what a limit allows, {limit, per_ms, burst}: as it was changed, else as it is declared; false: nobody has said.
local function numbers_of(limit)
  local numbers = numbers_by_limit[limit]
  if numbers == nil then
    local found = redis.call('HMGET', TAG .. ':limits', 'changed ' .. limit, 'declared ' .. limit)
    local most, per_ms, burst = string.match(found[1] or found[2] or '', '^(%d+) (%d+) (%d+)$')
    numbers = most and {tonumber(most), tonumber(per_ms), tonumber(burst)} or false
    numbers_by_limit[limit] = numbers
  end
  return numbers
end
