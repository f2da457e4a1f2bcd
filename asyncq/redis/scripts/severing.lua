-- How calls are taken from the consumers that hold them, for the scripts that name this file.

-- Returns the names under which a message of any priority may stand.
local function members_of(id)
  local members = {}
  for priority = 0, 9 do
    members[priority + 1] = priority .. id
  end
  return members
end

-- Take it from the consumer that holds it, which finds its token outdated, and tell it so; the order is kept for so many
-- ms, 0: what is lent stays as it is. Returns false if it does, and else true and whether it was lent.
local function sever(members, running, orders, order_ms)
  local is_lent = false
  for i, token in ipairs(redis.call('HMGET', running, unpack(members))) do
    if token and order_ms == 0 then
      return false
    elseif token then
      redis.call('HDEL', running, members[i])
      local address = orders .. string.match(token, '^(.*)/%d+/%d+$')
      redis.call('SADD', address, token)
      redis.call('PEXPIRE', address, order_ms)
      redis.call('PUBLISH', address, token)
      is_lent = true
    end
  end
  return true, is_lent
end
