-- How a ledger's calls come by their unique keys, for the scripts that name this file (behind queue.lua, uniques.lua
-- and ledger.lua).
--
-- A key that was claimed is there for as long as the claim holds; a call keeps it then as `uniques.lua` says. Its term
-- is how it is given back, a space, and the key.

-- Let a call keep the key that was claimed with its id, unless that was cleared.
local function confirm_key(id, term)
  local how, key = string.match(term, '^(%w+) (.*)$')
  local value = redis.call('GET', unique .. key)
  local taken_ms, _, owner = owner_in(value or '')
  if owner ~= id then
    return
  end
  if how == 's' or how == 'e' then
    redis.call('SET', unique .. key, value)
    redis.call('HSET', uniques, id, how .. key)
  else
    redis.call('PEXPIRE', unique .. key, string.format('%.0f', taken_ms + how - now_ms()))
  end
end

-- Returns the name of the key of a claim, where it is that id's still.
local function claimed_key(id, claimed)
  local key = string.match(claimed[3], '^%w+ (.*)$')
  local _, _, owner = owner_in(key and redis.call('GET', unique .. key) or '')
  return owner == id and unique .. key or nil
end

-- Let a claim, and its key, hold for so many ms from now on.
local function hold(id, claimed, ttl_ms)
  redis.call('PEXPIRE', claim .. id, ttl_ms)
  local name = claimed_key(id, claimed)
  if name then
    redis.call('PEXPIRE', name, ttl_ms)
  end
end
