-- Takes the locks of all the resources, or none of them.
-- KEYS  lock, fence of each resource; if this caller waits, then wait of each resource
-- ARGV  1 "owner:O:token:"  2 ":expiry:E"  3 lease (ms)  4 TTL of the counter (ms); if it waits, then
--       5 this waiter  6 waiting since (unix µs)  7 "1" if it may be registered already  8 TTL of the registration (ms)
-- Returns the counters in order, or the rest of the holder's lease (ms).
local call = redis.call
local waits = ARGV[5]
local n = waits and #KEYS * 2 / 3 or #KEYS
local held, remaining
for i = 1, n, 2 do
  local value = call('GET', KEYS[i])
  if value then
    if string.sub(value, 1, #ARGV[1]) == ARGV[1] then
      -- Held by this owner: the same call was sent again because its answer was lost.
      held = held or {}
      held[i] = tonumber(string.match(value, ':token:(%d+):'))
    else
      -- This script never makes a key without expiry; the caller tries again after a minute.
      local ttl = call('PTTL', KEYS[i])
      if ttl < 0 then ttl = 60000 end
      if not remaining or ttl > remaining then remaining = ttl end
      if waits then
        local list = KEYS[n + (i + 1) / 2]
        call('ZADD', list, ARGV[6], waits)
        call('PEXPIRE', list, ARGV[8])
      end
    end
  end
end
if remaining then return remaining end

local counters = {}
for i = 1, n, 2 do
  local counter = held and held[i]
  if not counter then
    counter = call('INCR', KEYS[i + 1])
    call('PEXPIRE', KEYS[i + 1], ARGV[4])
    -- Lua prints only 14 digits of a number by default.
    local token = counter < 1e14 and counter or string.format('%.0f', counter)
    call('SET', KEYS[i], ARGV[1] .. token .. ARGV[2], 'PX', ARGV[3])
  end
  if ARGV[7] == '1' then call('ZREM', KEYS[n + (i + 1) / 2], waits) end
  counters[(i + 1) / 2] = counter
end
return counters
