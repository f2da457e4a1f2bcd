-- How calls that need something are granted it, all or nothing, for the scripts that name this file.

local UNKNOWN_MS = 1000

local function due_of(term, now)
  local numbers = numbers_of(term.limit)
  if not numbers then
    return now + UNKNOWN_MS
  elseif term.weight then
    return turn_at(term.of, term.limit, numbers, term.weight, now)
  end
  return slot_at(term.of, numbers, now)
end

-- Grant one call all that it needs. Returns nothing, or the first term that it lacks, and when to ask again.
local function admit(terms, holder, until_ms, now)
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
