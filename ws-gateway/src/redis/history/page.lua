-- Returns whether there may be more of a user's stream, and a page of it: position and text of
-- each entry; the size in place of a text that is too large, nil for an entry without one.
--
-- KEYS[1] the user's stream    ARGV[1] field of the text
-- ARGV[2] position of the first entry, which is returned without its text: the client has it
-- ARGV[3] maximum number of entries    ARGV[4] maximum size of several texts, bytes
-- ARGV[5] maximum size of a text, bytes
--
-- Reads a few entries at a time, and large ones one by one: other software may have written entries
-- of any size. The reply is flat: tables in it cost more than all else.
local page, bytes, from, next_count = {0}, 0, ARGV[2], 2
local count, max_bytes, max_text = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
while count > 0 do
  local wanted = math.min(count, next_count)
  next_count = 8
  local found = redis.pcall('XRANGE', KEYS[1], from, '+', 'COUNT', wanted)
  if found.err then return found end
  for _, entry in ipairs(found) do
    local id, fields, text = entry[1], entry[2], false
    if id ~= ARGV[2] then
      for i = 1, #fields, 2 do
        if fields[i] == ARGV[1] then
          text = fields[i + 1]
          break
        end
      end
    end
    local size = text and #text or 0
    if bytes > 0 and bytes + size > max_bytes then
      page[1] = 1
      return page
    end
    bytes = bytes + size
    page[#page + 1] = id
    page[#page + 1] = size > max_text and size or text
    if size > max_text then
      page[1] = 1
      return page
    end
    if size > 65536 then next_count = 1 end
    from = '(' .. id
  end
  count = count - wanted
  if #found < wanted then return page end
end
page[1] = 1
return page
