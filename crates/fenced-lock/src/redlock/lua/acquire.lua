-- Takes the locks of all the resources, or none of them.
-- KEYS  lock, fence, wait of each resource
-- ARGV  1 "owner:O:"  2 lease (ms)  3 expiry (unix ms)  4 TTL of the counter (ms)
--       5 this waiter, or "" if it does not wait  6 since when it waits
--       7 "1" if it may be among the waiting already  8 TTL of the list of the waiting (ms)
-- Answers the counters in order, or how long (ms) the holder still has.
local held = {}
local remaining = false
for i = 1, #KEYS, 3 do
  local value = redis.call('GET', KEYS[i])
  if value then
    if string.sub(value, 1, #ARGV[1]) == ARGV[1] then
      -- Mine already: the same call, sent again because its answer was lost.
      held[i] = tonumber(string.match(value, ':token:(%d+):'))
    else
      -- A key without expiry is not one of ours; look again after a minute.
      local ttl = redis.call('PTTL', KEYS[i])
      if ttl < 0 then ttl = 60000 end
      if not remaining or ttl > remaining then remaining = ttl end
      if ARGV[5] ~= '' then
        redis.call('ZADD', KEYS[i + 2], ARGV[6], ARGV[5])
        redis.call('PEXPIRE', KEYS[i + 2], ARGV[8])
      end
    end
  end
end
if remaining then return remaining end

local counters = {}
for i = 1, #KEYS, 3 do
  local counter = held[i]
  if not counter then
    counter = redis.call('INCR', KEYS[i + 1])
    redis.call('PEXPIRE', KEYS[i + 1], ARGV[4])
    redis.call('SET', KEYS[i], ARGV[1] .. 'token:' .. string.format('%.0f', counter) .. ':expiry:' .. ARGV[3],
      'PX', ARGV[2])
  end
  if ARGV[7] == '1' then redis.call('ZREM', KEYS[i + 2], ARGV[5]) end
  counters[#counters + 1] = counter
end
return counters
