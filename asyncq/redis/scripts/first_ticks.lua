-- KEYS: schedules ticks
-- ARGV: how many
-- Returns of each schedule that is due first its name, its record, and when that is, in ms.
local due = redis.call('ZRANGE', ticks, 0, ARGV[1] - 1, 'WITHSCORES')
local reply = {}
for i = 1, #due, 2 do
  reply[#reply + 1] = due[i]
  reply[#reply + 1] = redis.call('HGET', schedules, due[i]) or ''
  reply[#reply + 1] = due[i + 1]
end
return reply
