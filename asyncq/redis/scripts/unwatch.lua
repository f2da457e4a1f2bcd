-- KEYS: watch
-- ARGV: address that watches no more; then ids
local watcher = ARGV[1]
for i = 2, #ARGV do
  local watchers = {}
  for address in string.gmatch(redis.call('HGET', watch, ARGV[i]) or '', '%S+') do
    if address ~= watcher then
      watchers[#watchers + 1] = address
    end
  end
  if #watchers > 0 then
    redis.call('HSET', watch, ARGV[i], table.concat(watchers, ' '))
  else
    redis.call('HDEL', watch, ARGV[i])
  end
end
return 0
