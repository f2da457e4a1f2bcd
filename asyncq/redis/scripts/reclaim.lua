-- KEYS: line ahead due suspects running crashes wake wake_suspects consumer
-- USES: queue suspects returning disowning
-- FLAGS: allow-oom
-- ARGV: as disowning.lua says
-- Returns how many messages it gave back, and where to go on; 0: that was all.
local reply = disown(consumer, running, crashes, function(member, token)
  put_back({member}, {[member] = token}, ahead, crashes, suspects)
end)
-- Also when there is something due later only: the one that has left may have been the one that knew the time.
if redis.call('EXISTS', line, ahead, due) > 0 then
  ring(wake)
end
if redis.call('EXISTS', suspects) == 1 then
  ring(wake_suspects)
end
return reply
