-- KEYS: line ahead due suspects running crashes wake wake_suspects consumer terms turns lanes
-- USES: queue suspects returning disowning terms groups lanes
-- FLAGS: allow-oom
-- ARGV: as disowning.lua says
-- Returns how many messages it gave back, and where to go on; 0: that was all.
local prefix, has_terms = prefix_by(line, 'line'), redis.call('EXISTS', terms) == 1
local reply = disown(consumer, running, crashes, function(member, token)
  if has_terms then
    local groups, place_of = free_slots(prefix, {member}), returned_place({[member] = token})
    if #join_lines(prefix, {member}, place_of) == 0 then
      return
    end
    if groups[member] and #sift({member}, crashes) == 1 then
      stand_in_lanes(prefix, {member}, groups, place_of)
      return
    end
  end
  put_back({member}, {[member] = token}, ahead, crashes, suspects)
end)
-- Also when there is something due later only: the one that has left may have been the one that knew the time.
if redis.call('EXISTS', line, ahead, due, turns, lanes) > 0 then
  ring(wake)
end
if redis.call('EXISTS', suspects) == 1 then
  ring(wake_suspects)
end
return reply
