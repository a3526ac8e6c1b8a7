-- Returns the newest position of a user, from which a client can resume later.
--
-- KEYS[1] the user's stream    KEYS[2] the user's newest position, which outlives the stream
-- ARGV[1] a random number below 2^10    ARGV[2] lifetime of the position, ms
-- ARGV[3] channel
--
-- An error is returned, not raised, only if there is no position to return: where Redis refuses
-- writes, users with a position are served as usual.
local last = redis.pcall('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last.err or last[1] then
  return last.err and last or last[1][1]
end
-- Other software may have written a value of any size: only its beginning is read, unless the
-- permission for that is missing. It is replaced.
local position = redis.pcall('GETRANGE', KEYS[2], 0, 127)
if type(position) == 'table' then position = redis.pcall('GET', KEYS[2]) end
if type(position) == 'table' and not string.find(position.err, 'WRONGTYPE') then
  return position
end
if type(position) == 'string' and string.find(position, '^%d+%-%d+$') then
  redis.pcall('SET', KEYS[2], position, 'PX', ARGV[2])
  return position
end
-- A position before all entries, for a user without history. Its number begins with the time, as
-- the worker has to know whether the user is older than a loss of data; doubles can hold it.
local time = redis.pcall('TIME')
local ms = time.err and 0 or time[1] * 1000 + math.floor(time[2] / 1000)
local start = string.format('0-%.0f', ms * 2 ^ 10 + ARGV[1])
local set = redis.pcall('SET', KEYS[2], start, 'PX', ARGV[2])
if set.err then return set end
-- Other devices of the user may be connected, if Redis has lost a former position.
redis.pcall('PUBLISH', ARGV[3], '\255history_changed')
return start
