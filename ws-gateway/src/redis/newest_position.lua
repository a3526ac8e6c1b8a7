-- Returns the newest position of a user, from which a client can resume later.
--
-- KEYS[1] the user's stream    KEYS[2] the user's newest position, which outlives the stream
-- ARGV[1] a position of its own for a user without history    ARGV[2] its lifetime, ms
--
-- An error is returned, not raised, only if there is no position to return: where Redis refuses
-- writes, users with a position are served as usual.
local last = redis.pcall('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last.err or last[1] then
  return last.err and last or last[1][1]
end
local position = redis.pcall('GET', KEYS[2])
if type(position) == 'string' then
  redis.pcall('SET', KEYS[2], position, 'PX', ARGV[2])
  return position
end
local set = redis.pcall('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return set.err and set or ARGV[1]
