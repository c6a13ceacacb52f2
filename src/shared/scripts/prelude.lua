-- Begins every script. KEYS[1] is the epoch; ARGV[1] is the epoch of the replica, or '' to join.

-- Only one primary writes, and each history of it has an id of its own.
local function history()
  local replication = redis.call('INFO', 'replication')
  if string.match(replication, 'role:(%a+)') ~= 'master' then return nil end
  return string.match(replication, 'master_replid:(%x+)')
end

local time = now()
local current = history()
if not current then return {'DEMOTED'} end
local epoch = redis.call('HMGET', KEYS[1], 'id', 'history', 'at', 'before')
local is_valid = epoch[1] and epoch[2] == current
if ARGV[1] ~= '' and not (is_valid and epoch[1] == ARGV[1]) then return {'EPOCH'} end

local function grace_left(grace)
  return math.max(0, tonumber(epoch[3]) + tonumber(grace) - time)
end

-- The rest is for all who write to the log: its keys are KEYS[2] to KEYS[4].
local function append(...)
  local number = redis.call('INCR', KEYS[2])
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', 20000, number .. '-0', 'e', epoch[1],
    'at', string.format('%.0f', time), ...)
end

local function announce(write, target, lasts)
  if redis.call('HEXISTS', KEYS[4], write) == 1 then return end
  append('k', 'o', 'w', write, 't', target, 'm', lasts)
  redis.call('HSET', KEYS[4], write, string.format('%.0f %s', time + lasts, target))
end

local function tail()
  return tonumber(redis.call('GET', KEYS[2]) or 0)
end

-- When each process was last heard of, and the requests whose doubts are a process's own: if it
-- ends, another one takes them over.
local ALIVE = (KEYS[5] or '') .. ':alive'
local MAX_SENT = 16384
local function sent_by(process)
  return KEYS[5] .. ':sent:' .. process
end

-- What is full fails no renewal: then a process is taken for one that has ended, and is asked first.
local function is_alive(process)
  local last = tonumber(redis.call('HGET', ALIVE, process) or 0)
  if time < last or time - last >= 1000 then
    redis.pcall('HSET', ALIVE, process, string.format('%.0f', time))
  end
end

-- Gives a doubt to a process, unless it has too many.
local function belongs(key, known, process)
  if known.owner == process then return true end
  if redis.call('HLEN', sent_by(process)) >= MAX_SENT then return false end
  redis.call('HSET', sent_by(process), key, 1)
  redis.call('HSETNX', ALIVE, process, string.format('%.0f', time))
  redis.call('HSET', key, 'owner', process)
  if known.owner then redis.call('HDEL', sent_by(known.owner), key) end
  known.owner = process
  return true
end

-- Attempts, in the order in which they came; the first are forgotten if there are too many.
local function latest(attempts)
  return string.sub(attempts, -168)
end

local function has(attempts, attempt)
  return attempts and attempt ~= '' and string.find(attempts, ' ' .. attempt .. ' ', 1, true) ~= nil
end

-- An attempt has announced what it sends.
local function has_sender(key, known, attempt)
  if has(known.senders, attempt) then return end
  known.senders = latest((known.senders or ' ') .. attempt .. ' ')
  redis.call('HSET', key, 'senders', known.senders)
end

-- An attempt of a process at a request id ends. `known` is the record, by field.
local function finish(key, known, state, intent, at, number, result, kept, process)
  if state == 'U' and intent ~= '' then
    known.intent, known.ended = intent, nil
    has_sender(key, known, known.attempt)
    redis.call('HSET', key, 'intent', intent)
    redis.call('HDEL', key, 'ended')
  end
  if state == 'N' and known.ended then state = 'U' end
  if state == 'U' and not known.intent then state = 'N' end
  if state == 'U' and not known.ended then redis.call('HSET', key, 'ended', at) end
  if state == 'D' then redis.call('HSET', key, 'result', result, 'number', number) end
  -- Nothing has to be found out any more.
  if state == 'E' and known.senders then
    redis.call('HSET', key, 'denied', latest((known.denied or '') .. known.senders))
  end
  if state == 'D' or state == 'E' then redis.call('HDEL', key, 'intent', 'ended', 'senders') end
  if state == 'E' then state = 'N' end
  -- Nothing has to be found out any more, and an intent may be long.
  if state ~= 'U' then redis.call('HDEL', key, 'intent', 'ended') end
  redis.call('HSET', key, 'state', state)
  if state == 'U' then
    if not known.owner then belongs(key, known, process) end
  elseif known.owner then
    redis.call('HDEL', key, 'owner')
    redis.call('HDEL', sent_by(known.owner), key)
  end
  if tonumber(kept) > 0 then
    redis.call('PEXPIRE', key, kept)
  elseif state ~= 'U' then
    -- No caller repeats it; but another process that has taken it over may ask.
    if tonumber(known.generation) == 1 then
      redis.call('DEL', key)
    else
      redis.call('PEXPIRE', key, 600000)
    end
  end
end

local FIELDS = {'fingerprint', 'state', 'attempt', 'generation', 'until', 'intent', 'ended',
  'result', 'number', 'owner', 'senders', 'denied'}
local function read(key)
  local values, known = redis.call('HMGET', key, unpack(FIELDS)), {}
  for place, name in ipairs(FIELDS) do known[name] = values[place] or nil end
  return known
end
