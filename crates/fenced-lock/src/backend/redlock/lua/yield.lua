-- Takes back what a failed attempt was granted here, and stays among the waiting. Wakes nobody:
-- the attempt failed because somebody else is being granted, or because several tried at once
-- and all of them try again.
-- KEYS  lock, wait of each resource
-- ARGV  1 "owner:O:"  2 this waiter  3 since when it waits  4 TTL of the list of the waiting (ms)
for i = 1, #KEYS, 2 do
  local value = redis.call('GET', KEYS[i])
  if value and string.sub(value, 1, #ARGV[1]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
  redis.call('ZADD', KEYS[i + 1], ARGV[3], ARGV[2])
  redis.call('PEXPIRE', KEYS[i + 1], ARGV[4])
end
return 1
