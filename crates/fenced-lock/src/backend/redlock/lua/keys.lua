-- The beginning of every script. The keys of a set of resources are in several slots, which no call may declare where
-- cluster mode is enabled. They are arguments then: their number, and the keys.
local KEYS, ARGV = KEYS, ARGV
if #KEYS == 0 then
  local n = tonumber(ARGV[1])
  KEYS, ARGV = { unpack(ARGV, 2, n + 1) }, { unpack(ARGV, n + 2) }
end
