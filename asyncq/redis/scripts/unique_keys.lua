-- KEYS: unique
-- USES: uniques
-- ARGV: keys, as they are named in the server
-- Returns of each its value and for how many ms it is kept (-1: no time is set); nothing of one that nobody has.
local found = {}
for i, name in ipairs(ARGV) do
  local value = redis.call('GET', name)
  if value and owner_of(string.sub(name, #unique + 1), unique) then
    found[#found + 1] = {name, value, redis.call('PTTL', name)}
  end
end
return found
