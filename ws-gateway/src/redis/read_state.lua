-- Moves the read cursor of a user forward, never back; publishes the read state and returns it.
--
-- KEYS[1] the user's stream    KEYS[2] how the stream begins    KEYS[3] the user's newest position
-- KEYS[4] the read cursor
-- ARGV[1] channel    ARGV[2] position to move to, '' for none    ARGV[3] lifetime of the cursor, ms
local function parts(position)
  local ms, seq = string.match(position or '', '^(%d+)%-(%d+)$')
  return tonumber(ms) or 0, tonumber(seq) or 0
end

local function is_before(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local newest = last and last[1] or redis.call('GET', KEYS[3]) or '0-0'
local cursor = string.match(redis.call('GET', KEYS[4]) or '', '^%d+%-%d+$') or '0-0'
local up_to = is_before(newest, ARGV[2]) and newest or ARGV[2]
if is_before(cursor, up_to) then cursor = up_to end
if cursor ~= '0-0' then redis.call('SET', KEYS[4], cursor, 'PX', ARGV[3]) end

local unread = #redis.call('XRANGE', KEYS[1], '(' .. cursor, '+')
local exact = not is_before(cursor, newest)
if not exact and last then
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
  local before, start = string.match(redis.call('GET', KEYS[2]) or '', '^(%S+) (%S+)$')
  -- Nothing is missing before the first entry of a user's first stream, nor between the position
  -- before a stream and its first entry.
  local is_whole = start == first and (parts(before) == 0 or not is_before(cursor, before))
  exact = is_whole or not is_before(cursor, first)
end
local state = string.format('{"up_to":"%s","unread":%d,"exact":%s,"last_event_id":"%s"}',
  cursor, unread, tostring(exact), newest)
redis.call('PUBLISH', ARGV[1], '{"event":"read_state","data":' .. state .. '}')
return state
