-- Notes in the field `since` from when on a server has kept all that workers have published there,
-- in ms. If the field is missing, the server may have lost its data in the middle of the round trip
-- before this one, so it is the time at which that began.
--
-- KEYS[1] the hash of the server's watermarks
-- ARGV[1] what the first script of the last round trip that succeeded has returned; empty for none
--
-- Returns the time in ms, or nothing if the server does not tell it.
local call = redis.pcall
local time = call('TIME')
if time.err then return '' end
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local begun = math.min(tonumber(ARGV[1]) or now, now)
local since = call('HGET', KEYS[1], 'since')
-- Another worker that knows no earlier time may have noted a later one.
if not since or type(since) == 'string' and begun < (tonumber(since) or math.huge) then
  call('HSET', KEYS[1], 'since', string.format('%.0f', begun))
end
return string.format('%.0f', now)
