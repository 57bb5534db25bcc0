-- Checks many requests, each against one or more policies, and counts those that are allowed. A
-- request is counted by all of its policies or by none. The time is that of this server.
--
-- KEYS      the keys of all requests, one request after the other
-- ARGV[1]   the number of keys of each request, one byte each
-- ARGV[1+i] the hit on KEYS[i], seven doubles: is_sliding_window, shadow, quota, window, cost and,
--           for GCRA, the time in which the cost is refilled: whole microseconds and the numerator
--           of a fraction over the quota
--
-- Returns the time in microseconds, then two integers for each key: the remaining units and the
-- microseconds until the reset; where the policy is exceeded, -1 - remaining and the microseconds
-- until the request would be allowed.
--
-- A sliding window is a list of timestamps in microseconds, one for each used unit, the oldest
-- first: its length is the number of used units, and the n-th element tells when n units will be
-- available again. GCRA is the theoretical arrival time, at which the whole quota is available
-- again, as "microseconds:numerator". All integers stay below 2^53.

local call = redis.call
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local READ_BATCH = 64 -- timestamps
local WRITE_BATCH = 4000 -- timestamps; Lua passes 8,000 arguments at most

-- The hit and its result for each policy of one request, by position. `mark` is the timestamp of the
-- oldest used unit; for GCRA it is the theoretical arrival time, with the numerator in `rest`.
local is_window, quota, window, cost, wait, used, mark, rest = {}, {}, {}, {}, {}, {}, {}, {}
local next_mark, next_rest = {}, {} -- GCRA: the theoretical arrival time if the hit is counted

-- Removes the timestamps up to `expired_until`, and returns the oldest of the others.
local function expire(key, expired_until)
  while true do
    local timestamps = call('LRANGE', key, 0, READ_BATCH - 1)
    for i = 1, #timestamps do
      local timestamp = tonumber(timestamps[i])
      if timestamp > expired_until then
        if i > 1 then
          call('LPOP', key, i - 1)
        end
        return timestamp
      end
    end
    if #timestamps == 0 then
      return nil
    end
    call('LPOP', key, #timestamps)
  end
end

local function check_window(i, key)
  local expired_until = now - window[i]
  local first = call('LINDEX', key, 0)
  if first then
    first = tonumber(first)
    if first <= expired_until then
      first = expire(key, expired_until)
    end
  end
  used[i] = first and call('LLEN', key) or 0
  mark[i] = first or now
  local excess = used[i] + cost[i] - quota[i]
  if excess <= 0 then
    return 0
  elseif cost[i] > quota[i] then
    return window[i]
  end
  return call('LINDEX', key, excess - 1) + window[i] - now
end

local function consume_window(i, key)
  if cost[i] == 1 then
    call('RPUSH', key, now)
  else
    local units = cost[i]
    while units > 0 do
      local timestamps = {}
      for at = 1, min(units, WRITE_BATCH) do
        timestamps[at] = now
      end
      call('RPUSH', key, unpack(timestamps))
      units = units - #timestamps
    end
  end
  call('PEXPIRE', key, ceil(window[i] / 1000))
  used[i] = used[i] + cost[i]
end

-- Units that are refilled in the time `whole - numerator/quota`.
local function units_in(i, whole, numerator)
  return max(0, floor((whole * quota[i] - numerator) / window[i]))
end

local function check_gcra(i, key, whole, numerator)
  mark[i], rest[i] = now, 0
  local stored = call('GET', key)
  if stored then
    local stored_mark, stored_rest = string.match(stored, '^(%d+):(%d+)$')
    stored_mark = tonumber(stored_mark)
    if stored_mark >= now then
      mark[i], rest[i] = stored_mark, tonumber(stored_rest)
    end
  end
  used[i] = quota[i] - units_in(i, window[i] - (mark[i] - now), rest[i])
  if cost[i] > quota[i] then
    return window[i]
  end
  next_mark[i], next_rest[i] = mark[i] + whole, rest[i] + numerator
  if next_rest[i] >= quota[i] then
    next_mark[i], next_rest[i] = next_mark[i] + 1, next_rest[i] - quota[i]
  end
  local excess = next_mark[i] - now - window[i]
  if excess < 0 or (excess == 0 and next_rest[i] == 0) then
    return 0
  end
  return excess + (next_rest[i] > 0 and 1 or 0)
end

local function consume_gcra(i, key)
  mark[i], rest[i] = next_mark[i], next_rest[i]
  local ahead = mark[i] - now
  local value = string.format('%.0f:%.0f', mark[i], rest[i])
  call('SET', key, value, 'PX', ceil((ahead + 1) / 1000))
  used[i] = quota[i] - units_in(i, window[i] - ahead, rest[i])
end

-- Microseconds until the reset.
local function reset(i)
  if is_window[i] == 1 then
    return used[i] > 0 and mark[i] + window[i] - now or 0
  end
  return mark[i] - now + (rest[i] > 0 and 1 or 0)
end

local keys_per_request = ARGV[1]
local result, length, base = { now }, 1, 0
for request = 1, #keys_per_request do
  local policies, refused = string.byte(keys_per_request, request), false
  for i = 1, policies do
    local key = KEYS[base + i]
    local shadow, whole, numerator
    is_window[i], shadow, quota[i], window[i], cost[i], whole, numerator =
      struct.unpack('<ddddddd', ARGV[base + i + 1])
    wait[i] = is_window[i] == 1 and check_window(i, key) or check_gcra(i, key, whole, numerator)
    refused = refused or (wait[i] > 0 and shadow == 0)
  end
  for i = 1, policies do
    if wait[i] == 0 and not refused then
      if is_window[i] == 1 then
        consume_window(i, KEYS[base + i])
      else
        consume_gcra(i, KEYS[base + i])
      end
    end
    local remaining = max(0, quota[i] - used[i])
    if wait[i] > 0 then
      result[length + 1], result[length + 2] = -1 - remaining, wait[i]
    else
      result[length + 1], result[length + 2] = remaining, reset(i)
    end
    length = length + 2
  end
  base = base + policies
end
return result
