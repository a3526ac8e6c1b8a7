-- Replaces watermarks that still have the expected value.
--
-- KEYS[1] the hash of this server's watermarks
-- ARGV, for each watermark: its field, the expected value (empty: none), the prefix that values of
-- earlier attempts at the same request have, the new value, to which the time in ms is appended
--
-- Returns a line per watermark: the value that the field has now, empty if none; or `-` and the
-- error with which Redis refused to replace it.
local call, lines = redis.pcall, {}
local time = call('TIME')
local at = ''
if not time.err then
  at = string.format(' at %.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end
for i = 1, #ARGV, 4 do
  local value = call('HGET', KEYS[1], ARGV[i])
  if type(value) == 'table' then
    -- Not a hash: written by other software.
    if string.find(value.err, 'WRONGTYPE') then call('DEL', KEYS[1]) end
    value = false
  end
  local prefix = ARGV[i + 2]
  value = value or ''
  if value == ARGV[i + 1] or string.sub(value, 1, #prefix) == prefix then
    local new = ARGV[i + 3] .. at
    local set = call('HSET', KEYS[1], ARGV[i], new)
    value = type(set) == 'number' and new or '-' .. set.err
  end
  lines[#lines + 1] = value
end
return table.concat(lines, '\n')
