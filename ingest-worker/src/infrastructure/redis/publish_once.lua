-- Publishes notifications to one user, in order, each unless it was published before: claim its
-- identity, append it to the user's history, publish it to the user's channel.
--
-- KEYS[1] the user's stream    KEYS[2] how the stream begins    KEYS[3] the user's newest position
-- KEYS[4..] the claim of each notification
-- ARGV[1] channel    ARGV[2] lifetime of a claim, ms    ARGV[3] lifetime of the stream, ms
-- ARGV[4] most entries of the stream    ARGV[5] lifetime of the position, ms
-- ARGV[6] empty, or to rebuild the history, and publish only if it has survived a loss of data:
-- `intact-until` and the last time in ms at which Redis had its data, or `noticed-at` and the time
-- at which the loss was noticed: a history without entries may have been made since
-- ARGV[7..] the text of each notification, a JSON object
--
-- Returns a line per notification: its stream id, followed by the kind of each key of the wrong
-- type that was in its way; `duplicate`; or, in the last line, `-` and the error with which Redis
-- refused a command. A refusal leaves nothing of its notification behind and ends the script.
--
-- No functions, and one string as reply: closures and reply tables would cost a tenth more.
local call, lines, appended, latest = redis.pcall, {}, false, nil
-- Redis 6.2 cannot check it: there an entry is deleted after the refusal.
if redis.acl_check_cmd and not redis.acl_check_cmd('PUBLISH', ARGV[1], '') then
  return '-NOPERM no permission to publish to the channel'
end
local publishes = ARGV[6] == ''
if not publishes then
  -- Clients may have resumed in a history that has survived: they are sent what it lacks.
  local start = call('GET', KEYS[2])
  local oldest = not start and call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  local known = start or oldest[1] and oldest[1][1] or call('GET', KEYS[3])
  local what, since = string.match(ARGV[6], '^(%S+) (%d+)$')
  for ms, seq in string.gmatch(type(known) == 'string' and known or '', '(%d+)%-(%d+)') do
    -- The number of a position before all entries is the time in ms, and 10 random bits; formerly
    -- the time in s, and 20 random bits, which read as ms is more than a year in the future.
    if ms == '0' and what == 'noticed-at' and seq ~= '0' then
      ms = math.huge
    elseif ms == '0' then
      local time = call('TIME')
      local latest = time.err and math.huge or (time[1] + 86400) * 1000
      ms = math.floor(seq / 2 ^ 10)
      if ms > latest then ms = math.floor(seq / 2 ^ 20) * 1000 end
    end
    publishes = publishes or tonumber(ms) < tonumber(since)
  end
  -- The newest position is about to change; no stream begins at this one.
  if publishes and not start then call('SET', KEYS[2], '- 0-0', 'PX', ARGV[5]) end
end
-- Whether gateways have to count the unread notifications again.
local changes_history = not publishes
for i = 4, #KEYS do
  local text, wrong_type, refusal = ARGV[i + 3], '', false
  local claim = call('SET', KEYS[i], '', 'NX', 'PX', ARGV[2])
  if not claim then
    local held = call('GET', KEYS[i])
    if type(held) == 'string' and held ~= 'refused' then
      claim = 'duplicate'
      -- A write, so that a WAIT that follows covers the claim.
      call('PEXPIRE', KEYS[i], ARGV[2])
    elseif type(held) == 'table' and not string.find(held.err, 'WRONGTYPE') then
      claim = held
    else
      claim = call('SET', KEYS[i], '', 'PX', ARGV[2])
      if type(held) == 'table' then wrong_type = ' claim' end
    end
  end
  if claim == 'duplicate' then
    lines[i - 3] = claim
  elseif claim.err then
    refusal = claim.err
  else
    -- Before the first entry, as a stream that cannot expire would be left behind.
    local id = appended or call('PEXPIRE', KEYS[1], ARGV[3])
    if type(id) ~= 'table' then
      id = call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[4], '*', 'n', text)
    end
    local unusable = false
    if type(id) == 'table' then
      unusable = string.find(id.err, 'WRONGTYPE') or string.find(id.err, 'exhausted')
    elseif id and string.sub(id, -2) ~= '-0' then
      -- After an entry of this millisecond, or of one in the future: gateways believe a minute.
      if not latest then
        local time = call('TIME')
        latest = time.err and math.huge or (time[1] + 60) * 1000
      end
      unusable = tonumber(string.match(id, '^%d+')) > latest
    end
    -- Not a stream, or one without usable ids: written by other software.
    if unusable and type(call('DEL', KEYS[1])) == 'number' then
      wrong_type = wrong_type .. ' history'
      id = false
    end
    if not id then
      id = call('XADD', KEYS[1], '*', 'n', text)
      call('PEXPIRE', KEYS[1], ARGV[3])
      -- A client at the position before the stream has missed nothing up to this entry. Without one
      -- it is the first notification of the user, unless it is restored; no position is before it.
      local before = call('GET', KEYS[3]) or publishes and '-'
      if type(before) == 'table' then
        wrong_type = wrong_type .. ' position'
      elseif before and type(id) == 'string' then
        call('SET', KEYS[2], before .. ' ' .. id, 'PX', ARGV[5])
        -- A user who has connected has a position, unless Redis has lost it with the history.
        changes_history = changes_history or before == '-'
      end
    end
    if type(id) == 'string' then
      local sent = 0
      if publishes then
        sent = call('PUBLISH', ARGV[1], '{"id":"' .. id .. '",' .. string.sub(text, 2))
      end
      if type(sent) == 'number' then
        lines[i - 3] = id .. wrong_type
        appended = id
      else
        refusal = sent.err
        call('XDEL', KEYS[1], id)
      end
    else
      refusal = id.err
    end
    -- A claim must not outlive the refusal, even where DEL is refused too.
    if refusal and type(call('DEL', KEYS[i])) ~= 'number' then
      call('SET', KEYS[i], 'refused', 'PX', ARGV[2])
    end
  end
  if refusal then
    lines[i - 3] = '-' .. refusal
    break
  end
end
-- An earlier position must not pass for the newest.
if appended and call('SET', KEYS[3], appended, 'PX', ARGV[5]).err then call('DEL', KEYS[3]) end
if appended and changes_history then call('PUBLISH', ARGV[1], '\255history_changed') end
return table.concat(lines, '\n')
