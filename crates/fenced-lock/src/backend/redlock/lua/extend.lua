-- Replaces the lease of locks that this owner still holds, all of them or none. Never creates an expired lock.
-- KEYS  lock of each resource
-- ARGV  1 "owner:O:"  2 lease (ms)  3 expiry (unix ms)
-- Returns 1 or 0.
local tokens = {}
for i = 1, #KEYS do
  local value = redis.call('GET', KEYS[i])
  if not value or string.sub(value, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
  tokens[i] = string.match(value, ':token:(%d+):')
end
for i = 1, #KEYS do
  redis.call('SET', KEYS[i], ARGV[1] .. 'token:' .. tokens[i] .. ':expiry:' .. ARGV[3], 'PX', ARGV[2])
end
return 1
