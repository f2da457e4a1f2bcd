-- KEYS: running crashes consumer orphans terms turns wake
-- USES: queue known returning disowning
-- FLAGS: allow-oom
-- ARGV: as disowning.lua says
-- Returns how many messages it took back, and where to go on; 0: that was all. They become orphans, in the order in which
-- they were lent, unless their consumer has left: it closes its connection, and they are delivered again.
-- LATER: with_limits(prefix_by free_slots) terms lanes
local limits = redis.call('EXISTS', terms) == 1 and with_limits()
local found = {}
local reply = disown(consumer, running, crashes, function(member, token)
  local number, place, priority = string.match(token, '/(%d+)/(%d*)(%d)$')
  if limits then
    limits.free_slots(limits.prefix_by(running, 'running'), {member})
  end
  found[#found + 1] = {string.sub(member, 2), tonumber(number), tonumber(place) or 0, priority}
end)
if redis.call('EXISTS', turns) == 1 then
  ring(wake) -- the one that has gone may have been the one that knew the time
end
if ARGV[2] == 'left' then
  return reply
end

table.sort(found, function(one, other)
  if one[2] ~= other[2] then
    return one[2] < other[2]
  end
  return one[3] < other[3]
end)
local newest = redis.call('ZREVRANGE', orphans, 0, 0, 'WITHSCORES')[2]
local last = math.max(now_ms() * 100, math.floor((newest or 0) / 10))
for i, orphan in ipairs(found) do
  local score = string.format('%.0f%s', last + i, orphan[4])
  redis.call('ZADD', orphans, score, queue_of(running, 'running') .. ' ' .. orphan[1])
end
return reply
