-- Raises a counter to a floor; never lowers it.
-- KEYS  fence
-- ARGV  1 the floor  2 TTL of the counter (ms)
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
