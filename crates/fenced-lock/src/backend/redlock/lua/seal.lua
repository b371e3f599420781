-- Stores the sealed token of a grant whose nodes had different counters.
-- KEYS  lock, fence of each resource
-- ARGV  1 "owner:O:"  2 lease (ms)  3 expiry (unix ms)  4 TTL of the counter (ms)  5… the token of each resource
-- Only where this owner still holds all the locks and no counter is past its token. Returns 1 or 0.
for i = 1, #KEYS, 2 do
  local value = redis.call('GET', KEYS[i])
  if not value or string.sub(value, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
  if tonumber(redis.call('GET', KEYS[i + 1]) or '0') > tonumber(ARGV[5 + (i - 1) / 2]) then return 0 end
end
for i = 1, #KEYS, 2 do
  local token = ARGV[5 + (i - 1) / 2]
  redis.call('SET', KEYS[i + 1], token, 'PX', ARGV[4])
  redis.call('SET', KEYS[i], ARGV[1] .. 'token:' .. token .. ':expiry:' .. ARGV[3], 'PX', ARGV[2])
end
return 1
