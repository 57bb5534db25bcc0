-- Takes back what was taken from KEYS[1] when another part of the same request was refused.
--
-- ARGV[1]  the clock of the call that took it
-- ARGV[2]  what was asked then, as in decide.lua
local exact, _, quota, _, cost, whole, part = struct.unpack('<ddddddd', ARGV[2])
if exact == 1 then
  return redis.call('LREM', KEYS[1], -cost, ARGV[1])
end
local known = redis.call('GET', KEYS[1])
if not known then
  return 0
end
local full, rest = string.match(known, '^(%d+):(%d+)$')
full, rest = tonumber(full) - whole, tonumber(rest) - part
if rest < 0 then
  full, rest = full - 1, rest + quota
end
redis.call('SET', KEYS[1], string.format('%.0f:%.0f', full, rest), 'KEEPTTL')
return 1
