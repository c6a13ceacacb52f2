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

-- An attempt at a request id ends. `known` is the record, by field.
local function finish(key, known, state, intent, at, number, result, kept)
  if state == 'U' and intent ~= '' then
    known.intent, known.ended = intent, nil
    redis.call('HSET', key, 'intent', intent)
    redis.call('HDEL', key, 'ended')
  end
  if state == 'N' and known.ended then state = 'U' end
  if state == 'U' and not known.intent then state = 'N' end
  if state == 'U' and not known.ended then redis.call('HSET', key, 'ended', at) end
  if state == 'D' then redis.call('HSET', key, 'result', result, 'number', number) end
  -- Nothing has to be found out any more.
  if state == 'D' or state == 'E' then redis.call('HDEL', key, 'intent', 'ended') end
  if state == 'E' then state = 'N' end
  -- Nothing has to be found out any more, and an intent may be long.
  if state ~= 'U' then redis.call('HDEL', key, 'intent', 'ended') end
  redis.call('HSET', key, 'state', state)
  redis.call('PEXPIRE', key, kept)
end

local FIELDS = {'fingerprint', 'state', 'attempt', 'generation', 'until', 'intent', 'ended',
  'result', 'number'}
local function read(key)
  local values, known = redis.call('HMGET', key, unpack(FIELDS)), {}
  for place, name in ipairs(FIELDS) do known[name] = values[place] or nil end
  return known
end
