-- KEYS: orphans queues
-- USES: known ledger
-- FLAGS: allow-oom
-- ARGV: how many at most, after how many
-- Returns of each, oldest first, its queue, its member, its body, its generation, its due time, 0: none, and its terms,
--       empty: none. Those that are lent, or have ended, are orphans no more.
local LARGEST = 1000000 -- bytes of all bodies: else it would hold up everybody else
local limit, skipped = tonumber(ARGV[1]), tonumber(ARGV[2])
local found, count, size = {}, 0, 0
while count < limit and size < LARGEST do
  local first = skipped + count
  local names = redis.call('ZRANGE', orphans, first, first + limit - count - 1, 'WITHSCORES')
  if #names == 0 then
    break
  end
  for i = 1, #names, 2 do
    local queue, id = string.match(names[i], '^(%S+) (.*)$')
    local prefix = prefix_of(queue)
    local body = redis.call('HGET', prefix .. 'messages', id)
    if not body or redis.call('HEXISTS', prefix .. 'running', '0' .. id) == 1 then
      redis.call('ZREM', orphans, names[i])
    elseif size < LARGEST then
      found[#found + 1] = queue
      found[#found + 1] = string.sub(names[i + 1], -1) .. id
      found[#found + 1] = body
      found[#found + 1] = generation_in(redis.call('HGET', prefix .. 'generations', id))
      found[#found + 1] = redis.call('ZSCORE', prefix .. 'due', '0' .. id) or '0'
      found[#found + 1] = redis.call('HGET', prefix .. 'terms', id) or ''
      count, size = count + 1, size + #body
    end
  end
end
return found
