-- Returns the newest position of a user and how the stream begins, '' for none.
--
-- KEYS[1] the user's newest position    KEYS[2] how the stream begins
--
-- Other software may have written values of any size: only their beginnings are read, unless the
-- permission for that is missing.
local function get(key)
  local value = redis.pcall('GETRANGE', key, 0, 127)
  if type(value) == 'table' then value = redis.pcall('GET', key) end
  return type(value) == 'string' and value or ''
end

return {get(KEYS[1]), get(KEYS[2])}
