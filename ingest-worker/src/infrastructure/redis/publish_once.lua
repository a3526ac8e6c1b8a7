-- Publishes one notification to one user, unless that was done before: claim, append to the
-- user's history, publish, all or nothing.
--
-- KEYS[1] the claim    KEYS[2] the user's stream    KEYS[3] the mark that there is no history
-- ARGV[1] channel      ARGV[2] the notification's text, a JSON object without an id
-- ARGV[3] lifetime of the claim, ms    ARGV[4] lifetime of the stream, ms
-- ARGV[5] most entries of the stream
--
-- Returns the stream id, or nil if the claim was taken. Even then it writes, so that a WAIT that
-- follows covers what the claim stands for.
if not redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return nil
end

-- A history that begins is noted in the mark, if a gateway has set one.
local function begin()
  local id = redis.call('XADD', KEYS[2], '*', 'n', ARGV[2])
  local mark = redis.call('GET', KEYS[3])
  if mark and not string.find(mark, ' ', 1, true) then
    redis.call('SET', KEYS[3], mark .. ' ' .. id, 'KEEPTTL')
  end
  return id
end

local id = redis.pcall('XADD', KEYS[2], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[5], '*', 'n', ARGV[2])
if not id then
  id = begin()
elseif type(id) == 'table' and id.err then
  if string.sub(id.err, 1, 9) ~= 'WRONGTYPE' then
    redis.call('DEL', KEYS[1])
    return id
  end
  -- Something else sits where the history belongs; it must not stop notifications.
  redis.call('DEL', KEYS[2])
  id = begin()
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[1], '{"id":"' .. id .. '",' .. string.sub(ARGV[2], 2))
return id
