-- Moves the read cursor of a user forward, never back; publishes the read state and returns it.
--
-- KEYS[1] the user's stream    KEYS[2] how the stream begins    KEYS[3] the user's newest position
-- KEYS[4] the read cursor, how many notifications are unread, and up to which they were counted
-- ARGV[1] channel, '' for none    ARGV[2] position to move to, '' for none
-- ARGV[3] lifetime of the cursor, ms
--
-- A history may be megabytes, so each notification is counted once. Values that no gateway or
-- worker wrote are ignored, and positions from the future, which Redis did not assign.
local stream, latest = KEYS[1], (redis.call('TIME')[1] + 60) * 1000

local function parts(position)
  local ms, seq = string.match(position or '', '^(%d+)%-(%d+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  if ms and ms <= latest and seq < 2 ^ 64 then return ms, seq end
end

local function is_before(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local function valid(position) return parts(position) and position or '0-0' end

-- Other software may have written values of any size: only their beginnings are read, unless the
-- permission for that is missing.
local function get(key)
  local value = redis.pcall('GETRANGE', key, 0, 127)
  if type(value) == 'table' then value = redis.pcall('GET', key) end
  return type(value) == 'string' and value or ''
end

local function count(after, up_to)
  return #redis.call('XRANGE', stream, '(' .. after, up_to)
end

local oldest = redis.pcall('XRANGE', stream, '-', '+', 'COUNT', 1)
if oldest.err and not string.find(oldest.err, 'WRONGTYPE') then return oldest end
local first, last = oldest[1] and oldest[1][1], nil
if first then
  local youngest = redis.call('XREVRANGE', stream, string.format('%.0f', latest), '-', 'COUNT', 1)
  last = youngest[1] and youngest[1][1]
end
local newest = last or valid(get(KEYS[3]))
local stored, known, counted = string.match(get(KEYS[4]), '^(%S+) (%d+) (%S+)$')
stored, counted = valid(stored), valid(counted)
-- A client may name a later position to mark all as read.
local cursor = ARGV[2] == '' and '0-0' or parts(ARGV[2]) and ARGV[2] or newest
if is_before(newest, cursor) then cursor = newest end
if is_before(cursor, stored) then cursor = stored end

local unread = 0
if last and is_before(cursor, last) then
  if is_before(cursor, first) then
    unread = redis.call('XLEN', stream) - count(last, '+')
  elseif is_before(stored, first) or is_before(counted, stored) or is_before(last, counted) then
    unread = count(cursor, last)
  else
    unread = known + count(counted, last) - count(stored, cursor)
  end
end

local exact = cursor == newest
if last and is_before(cursor, last) then
  local before, start = string.match(get(KEYS[2]), '^(%S+) (%S+)$')
  before = valid(before)
  -- Nothing is missing before the first entry of a user's first stream, nor between the position
  -- before a stream and its first entry. A cursor in between is from a history that was lost.
  local is_first = parts(before) == 0 and parts(cursor) == 0
  local is_whole = start == first and (is_first or cursor == before)
  exact = is_whole or not is_before(cursor, first)
elseif not last then
  -- Before the first notification, a user has a position of its own.
  exact = exact or parts(newest) == 0 and parts(cursor) == 0
end

if cursor ~= '0-0' then
  local value = string.format('%s %d %s', cursor, unread, newest)
  local set = redis.pcall('SET', KEYS[4], value, 'PX', ARGV[3])
  if set.err and cursor ~= stored then return set end
end
local state = string.format('{"up_to":"%s","unread":%d,"exact":%s,"last_event_id":"%s"}',
  cursor, unread, tostring(exact), newest)
if ARGV[1] == '' then return state end
-- The first byte marks a message for gateways, which pass the rest on.
local sent = redis.pcall('PUBLISH', ARGV[1], '\255{"event":"read_state","data":' .. state .. '}')
return type(sent) == 'number' and state or sent
