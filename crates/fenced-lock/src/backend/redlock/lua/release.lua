-- Deletes the locks of this owner, removes its waiter from the wait lists, and where a lock is free now wakes the
-- waiter that has waited longest, unless the next holder is known. A waiter whose process has ended has no
-- subscription left, so the next waiter is woken instead.
-- KEYS  lock, wait of each resource
-- ARGV  1 "owner:O:"  2 this waiter, or ""  3 "1" to wake a waiter
-- Returns 1 if this owner held all the locks, else 0.
local held = 1
for i = 1, #KEYS, 2 do
  local value = redis.call('GET', KEYS[i])
  if value and string.sub(value, 1, #ARGV[1]) == ARGV[1] then
    redis.call('DEL', KEYS[i])
    value = false
  else
    held = 0
  end
  if ARGV[2] ~= '' then redis.call('ZREM', KEYS[i + 1], ARGV[2]) end
  if not value and ARGV[3] == '1' then
    repeat
      local first = redis.call('ZPOPMIN', KEYS[i + 1])[1]
    until not first or redis.call('PUBLISH', 'wake:' .. string.match(first, '^[^:]+'), KEYS[i + 1]) > 0
  end
end
return held
