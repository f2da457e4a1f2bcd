-- KEYS: line ahead due suspects running crashes wake wake_suspects consumer
-- USES: queue suspects returning
-- FLAGS: allow-oom
-- ARGV: name of a consumer, and what became of it: `died`, `silent`, `left`, or the lowest number that a fetch of it may have
--       from now on; then the tokens of what it holds, which it keeps
-- Returns how many messages it gave back.
local name, what = ARGV[1], ARGV[2]
local lowest, prefix, kept = tonumber(what), name .. '/', {}

-- A fetch that it gave up may still be on its way to the server: from now on it finds that it is out.
if lowest then
  redis.call('SET', consumer .. name, lowest, 'XX')
else
  redis.call('DEL', consumer .. name)
end
for i = 3, #ARGV do
  kept[ARGV[i]] = true
end

local count, held = 0, redis.call('HGETALL', running)
for i = 1, #held, 2 do
  local member, token = held[i], held[i + 1]
  local is_its_own = string.sub(token, 1, #prefix) == prefix and string.find(token, '^%d+/%d+$', #prefix + 1)
  if is_its_own and not kept[token] then
    redis.call('HDEL', running, member)
    if what == 'died' or what == 'silent' then
      count_crash(crashes, member, what == 'silent' and name)
    end
    put_back({member}, {[member] = token}, ahead, crashes, suspects)
    count = count + 1
  end
end
-- Also when there is something due later only: the one that has left may have been the one that knew the time.
if redis.call('EXISTS', line, ahead, due) > 0 then
  ring(wake)
end
if redis.call('EXISTS', suspects) == 1 then
  ring(wake_suspects)
end
return count
