-- Rolls back a hit on KEYS[1], because another part of the same request was refused.
--
-- ARGV[1]  the time that the hit returned
-- ARGV[2]  the hit, as in hit.lua
local is_window, _, quota, _, cost, whole, numerator = struct.unpack('<ddddddd', ARGV[2])
if is_window == 1 then
  return redis.call('LREM', KEYS[1], -cost, ARGV[1])
end
local stored = redis.call('GET', KEYS[1])
if not stored then
  return 0
end
local mark, rest = string.match(stored, '^(%d+):(%d+)$')
mark, rest = tonumber(mark) - whole, tonumber(rest) - numerator
if rest < 0 then
  mark, rest = mark - 1, rest + quota
end
redis.call('SET', KEYS[1], string.format('%.0f:%.0f', mark, rest), 'KEEPTTL')
return 1
