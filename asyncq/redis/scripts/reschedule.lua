-- KEYS: messages line ahead due suspects running crashes withdrawn wake wake_suspects sequence terms stands
-- USES: queue suspects severing leaving terms groups lanes moving
-- FLAGS: allow-oom
-- ARGV: id, body as it was read, new body, its due time in ms, and when it expires, for terms that say it; 0: never
-- Returns 1, 0: it is not here, or is another by now, or runs.
local id, members = ARGV[1], members_of(ARGV[1])
if redis.call('HGET', messages, id) ~= ARGV[2] or lent_as(members, running) then
  return 0
end
redis.call('HSET', messages, id, ARGV[3])
local kept = redis.call('HGET', terms, id)
local text, has_expiry = string.gsub(kept or '', '"expires_ms":%d+', '"expires_ms":' .. ARGV[5])
if has_expiry == 1 then
  redis.call('HSET', terms, id, text)
end
move(members, {
  line = line, ahead = ahead, due = due, suspects = suspects, crashes = crashes, withdrawn = withdrawn, wake = wake,
  wake_suspects = wake_suspects, sequence = sequence, terms = terms, stands = stands,
}, tonumber(ARGV[4]), now_ms())
return 1
