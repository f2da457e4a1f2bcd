-- KEYS: unique
-- USES: queue uniques
-- ARGV: keys, as they are named in the server
-- Returns of each its name, its value, and the ms at which it is given back, 0: no time is set; nothing of one that nobody
--       has.
local found, now = {}, now_ms()
for i, name in ipairs(ARGV) do
  local value = redis.call('GET', name)
  if value and owner_of(string.sub(name, #unique + 1), unique) then
    local left_ms = redis.call('PTTL', name)
    found[#found + 1] = {name, value, left_ms > 0 and now + left_ms or 0}
  end
end
return found
