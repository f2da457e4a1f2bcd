-- How calls that need something are granted it, all or nothing, for the scripts that name this file.

local UNKNOWN_MS, EXPIRY_MARGIN_MS = 1000, 1000

local function due_of(term, now)
  local numbers = numbers_of(term.limit)
  if not numbers then
    return now + UNKNOWN_MS
  elseif term.weight then
    return turn_at(term.of, term.limit, numbers, term.weight, now)
  end
  return slot_at(term.of, numbers, now)
end

-- Grant one call all that it needs; one that has expired is let go without. Returns nothing, or the first term that it
-- lacks, and when to ask again.
local function admit(terms, holder, until_ms, now)
  if terms.expires_ms and terms.expires_ms < now - EXPIRY_MARGIN_MS then
    return nil
  end
  for _, term in ipairs(terms) do
    local at = due_of(term, now)
    if at > now then
      return term.of, at
    end
  end
  for _, term in ipairs(terms) do
    if term.weight then
      grant_turn(term.of, numbers_of(term.limit), term.weight, now)
    else
      grant_slot(term.of, holder, until_ms)
    end
  end
end

-- Have a call that is lent start from now on, however late it is, and never again without what it needs: of one that was
-- let go without, the consumer may die, and a call that was in a dead one's hands does not expire.
local function forget_expiry(terms, key, id, text)
  if terms.expires_ms then
    local without = string.gsub(text, ',?"expires_ms":%d+', '')
    redis.call('HSET', key, id, without)
  end
end
