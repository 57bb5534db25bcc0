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
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local floor, ceil, max = math.floor, math.ceil, math.max
local CHUNK = 64

-- Drops what expired; returns units in use and the oldest unit's time.
local function expire(key, horizon)
  local oldest = tonumber(call('LINDEX', key, 0) or nil)
  if not oldest then
    return 0, now
  end
  while oldest <= horizon do
    local stamps = call('LRANGE', key, 0, CHUNK - 1)
    local gone = #stamps
    for i = 1, #stamps do
      oldest = tonumber(stamps[i])
      if oldest > horizon then
        gone = i - 1
        break
      end
    end
    call('LPOP', key, gone)
    if gone == #stamps and gone < CHUNK then
      return 0, now
    end
  end
  return call('LLEN', key), oldest
end

local function examine_window(term)
  term.used, term.oldest = expire(term.key, now - term.window)
  term.left = max(0, term.quota - term.used)
  local excess = term.used + term.cost - term.quota
  if excess <= 0 then
    return 0
  end
  if term.cost > term.quota then
    return term.window
  end
  return tonumber(call('LINDEX', term.key, excess - 1)) + term.window - now
end

local function take_window(term)
  local left = term.cost
  while left > 0 do
    local stamps = {}
    for i = 1, math.min(left, 4000) do
      stamps[i] = now
    end
    call('RPUSH', term.key, unpack(stamps))
    left = left - #stamps
  end
  call('PEXPIRE', term.key, ceil(term.window / 1000))
  term.used = term.used + term.cost
  term.left = term.quota - term.used
end

local function reset_window(term)
  return term.used > 0 and term.oldest + term.window - now or 0
end

-- Units that fit into the time `room - rest/quota`.
local function units_in(term, room, rest)
  return max(0, floor((room * term.quota - rest) / term.window))
end

local function examine_gcra(term)
  term.full, term.rest = now, 0
  local known = call('GET', term.key)
  if known then
    local full, rest = string.match(known, '^(%d+):(%d+)$')
    full = tonumber(full)
    if full >= now then
      term.full, term.rest = full, tonumber(rest)
    end
  end
  term.left = units_in(term, term.window - (term.full - now), term.rest)
  if term.cost > term.quota then
    return term.window
  end
  term.next_full, term.next_rest = term.full + term.whole, term.rest + term.part
  if term.next_rest >= term.quota then
    term.next_full, term.next_rest = term.next_full + 1, term.next_rest - term.quota
  end
  local excess = term.next_full - now - term.window
  if excess < 0 or (excess == 0 and term.next_rest == 0) then
    return 0
  end
  return excess + (term.next_rest > 0 and 1 or 0)
end

local function take_gcra(term)
  term.full, term.rest = term.next_full, term.next_rest
  local ahead = term.full - now
  call('SET', term.key, string.format('%.0f:%.0f', term.full, term.rest), 'PX', ceil((ahead + 1) / 1000))
  term.left = units_in(term, term.window - ahead, term.rest)
end

local function reset_gcra(term)
  return term.full - now + (term.rest > 0 and 1 or 0)
end

local counts = ARGV[1]
local answer, said, done = { now }, 1, 0
for request = 1, #counts do
  local terms, refused = {}, false
  for i = 1, string.byte(counts, request) do
    done = done + 1
    local term = { key = KEYS[done] }
    term.exact, term.shadow, term.quota, term.window, term.cost, term.whole, term.part =
      struct.unpack('<ddddddd', ARGV[done + 1])
    term.wait = term.exact == 1 and examine_window(term) or examine_gcra(term)
    refused = refused or (term.wait > 0 and term.shadow == 0)
    terms[i] = term
  end
  for i = 1, #terms do
    local term = terms[i]
    local exact = term.exact == 1
    if term.wait > 0 then
      answer[said + 1], answer[said + 2] = -1 - term.left, term.wait
    else
      if not refused then
        if exact then take_window(term) else take_gcra(term) end
      end
      answer[said + 1] = term.left
      answer[said + 2] = exact and reset_window(term) or reset_gcra(term)
    end
    said = said + 2
  end
end
return answer
