-- How a message leaves the line of its queue, for the scripts that name this file.

local NEAR = 1000

-- Take it out of the line if it stands near its front or its back. Out of the middle of a long one it cannot be taken:
-- whoever pops it drops it.
local function leave_line(member, line, withdrawn)
  for _, rank in ipairs({1, -1}) do
    if redis.call('LPOS', line, member, 'RANK', rank, 'MAXLEN', NEAR) then
      redis.call('LREM', line, rank, member)
      return
    end
  end
  redis.call('HINCRBY', withdrawn, member, 1)
end
