-- Releases what a failed attempt was granted here, and keeps its waiter registered. Wakes no waiter: the attempt
-- failed because another caller is being granted the lock, or because several callers tried at once, and all of
-- them try again.
-- KEYS  lock, wait of each resource
-- ARGV  1 "owner:O:"  2 this waiter  3 waiting since (unix µs)  4 TTL of the registration (ms)
for i = 1, #KEYS, 2 do
  local value = redis.call('GET', KEYS[i])
  if value and string.sub(value, 1, #ARGV[1]) == ARGV[1] then redis.call('DEL', KEYS[i]) end
  redis.call('ZADD', KEYS[i + 1], ARGV[3], ARGV[2])
  redis.call('PEXPIRE', KEYS[i + 1], ARGV[4])
end
return 1
