-- Decides many requests, each with one or more policies, all or nothing, on this server's clock.
--
-- KEYS     the keys of all requests, one after the other
-- ARGV[1]  how many keys each request has, one byte a request
-- ARGV[1+i] what is asked of KEYS[i], seven doubles: exact, shadow, quota, window, cost and, for
--          GCRA, the cost in time: whole microseconds and a rest over the quota
--
-- Answers the clock in microseconds, then two integers a key: units left and microseconds until
-- there are more; where there is no room, -1 - left and the microseconds until there is.
--
-- A sliding window is a list of the microseconds at which units were taken, the oldest first: its
-- length is what is used, and the n-th element tells when n units will be free. GCRA is the time at
-- which the quota will be full again, "microseconds:rest". All integers stay below 2^53.

local call = redis.call
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local CHUNK = 64 -- stamps looked at together
local PUSHED = 4000 -- stamps written together; Lua passes 8,000 arguments at most

-- What is asked and found for the terms of one request, by their position. `mark` is the time of the
-- oldest unit, or for GCRA the time at which the quota will be full again, `rest` of its microsecond.
local exact, quota, window, cost, wait, used, mark, rest = {}, {}, {}, {}, {}, {}, {}, {}
local next_full, next_rest = {}, {} -- GCRA: what `mark` and `rest` become

-- Drops stamps up to `horizon` and returns the oldest of the others.
local function expire(key, horizon)
  while true do
    local stamps = call('LRANGE', key, 0, CHUNK - 1)
    for i = 1, #stamps do
      local stamp = tonumber(stamps[i])
      if stamp > horizon then
        if i > 1 then
          call('LPOP', key, i - 1)
        end
        return stamp
      end
    end
    if #stamps == 0 then
      return nil
    end
    call('LPOP', key, #stamps)
  end
end

local function examine_window(i, key)
  local horizon = now - window[i]
  local first = call('LINDEX', key, 0)
  if first then
    first = tonumber(first)
    if first <= horizon then
      first = expire(key, horizon)
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

local function take_window(i, key)
  if cost[i] == 1 then
    call('RPUSH', key, now)
  else
    local units = cost[i]
    while units > 0 do
      local stamps = {}
      for at = 1, min(units, PUSHED) do
        stamps[at] = now
      end
      call('RPUSH', key, unpack(stamps))
      units = units - #stamps
    end
  end
  call('PEXPIRE', key, ceil(window[i] / 1000))
  used[i] = used[i] + cost[i]
end

-- Units that fit into the time `room - behind/quota`.
local function units_in(i, room, behind)
  return max(0, floor((room * quota[i] - behind) / window[i]))
end

local function examine_gcra(i, key, whole, part)
  mark[i], rest[i] = now, 0
  local known = call('GET', key)
  if known then
    local known_full, known_rest = string.match(known, '^(%d+):(%d+)$')
    known_full = tonumber(known_full)
    if known_full >= now then
      mark[i], rest[i] = known_full, tonumber(known_rest)
    end
  end
  used[i] = quota[i] - units_in(i, window[i] - (mark[i] - now), rest[i])
  if cost[i] > quota[i] then
    return window[i]
  end
  next_full[i], next_rest[i] = mark[i] + whole, rest[i] + part
  if next_rest[i] >= quota[i] then
    next_full[i], next_rest[i] = next_full[i] + 1, next_rest[i] - quota[i]
  end
  local excess = next_full[i] - now - window[i]
  if excess < 0 or (excess == 0 and next_rest[i] == 0) then
    return 0
  end
  return excess + (next_rest[i] > 0 and 1 or 0)
end

local function take_gcra(i, key)
  mark[i], rest[i] = next_full[i], next_rest[i]
  local ahead = mark[i] - now
  local value = string.format('%.0f:%.0f', mark[i], rest[i])
  call('SET', key, value, 'PX', ceil((ahead + 1) / 1000))
  used[i] = quota[i] - units_in(i, window[i] - ahead, rest[i])
end

-- Microseconds until there are more units.
local function reset(i)
  if exact[i] == 1 then
    return used[i] > 0 and mark[i] + window[i] - now or 0
  end
  return mark[i] - now + (rest[i] > 0 and 1 or 0)
end

local counts = ARGV[1]
local answer, said, base = { now }, 1, 0
for request = 1, #counts do
  local terms, refused = string.byte(counts, request), false
  for i = 1, terms do
    local key = KEYS[base + i]
    local shadow, whole, part
    exact[i], shadow, quota[i], window[i], cost[i], whole, part =
      struct.unpack('<ddddddd', ARGV[base + i + 1])
    wait[i] = exact[i] == 1 and examine_window(i, key) or examine_gcra(i, key, whole, part)
    refused = refused or (wait[i] > 0 and shadow == 0)
  end
  for i = 1, terms do
    if wait[i] == 0 and not refused then
      if exact[i] == 1 then
        take_window(i, KEYS[base + i])
      else
        take_gcra(i, KEYS[base + i])
      end
    end
    local left = max(0, quota[i] - used[i])
    if wait[i] > 0 then
      answer[said + 1], answer[said + 2] = -1 - left, wait[i]
    else
      answer[said + 1], answer[said + 2] = left, reset(i)
    end
    said = said + 2
  end
  base = base + terms
end
return answer
