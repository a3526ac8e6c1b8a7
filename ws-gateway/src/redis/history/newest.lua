-- The newest position of a user, from which a client can resume later.
--
-- KEYS[1] the user's stream    KEYS[2] the mark that the user has no history
-- ARGV[1] a position before every entry, not used for anything else
-- ARGV[2] lifetime of the mark, ms
--
-- Where there is no entry, the position is that of the mark. Whoever publishes the first entry
-- adds its id to the mark, so that it can be told later whether anything is missing in between.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last[1] then
  return last[1][1]
end
local mark = redis.call('GET', KEYS[2])
if not mark or string.find(mark, ' ', 1, true) then
  mark = ARGV[1]
end
redis.call('SET', KEYS[2], mark, 'PX', ARGV[2])
return mark
