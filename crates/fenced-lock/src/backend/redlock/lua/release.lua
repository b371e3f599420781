-- Deletes the locks that are mine, leaves the list of the waiting, and where a lock is free now
-- wakes the one that has waited longest, unless somebody else is known to come next. A waiter
-- whose process is gone has no subscription left, so its turn goes to the next.
-- KEYS  lock, wait of each resource
-- ARGV  1 "owner:O:"  2 this waiter, or ""  3 "1" to wake somebody
-- Answers 1 if all the locks were mine, else 0.
local mine = 1
for i = 1, #KEYS, 2 do
  local value = redis.call('GET', KEYS[i])
  if value and string.sub(value, 1, #ARGV[1]) == ARGV[1] then
    redis.call('DEL', KEYS[i])
    value = false
  else
    mine = 0
  end
  if ARGV[2] ~= '' then redis.call('ZREM', KEYS[i + 1], ARGV[2]) end
  if not value and ARGV[3] == '1' then
    repeat
      local first = redis.call('ZPOPMIN', KEYS[i + 1])[1]
    until not first or redis.call('PUBLISH', 'wake:' .. string.match(first, '^[^:]+'), KEYS[i + 1]) > 0
  end
end
return mine
