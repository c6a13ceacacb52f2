-- Begins the scripts of a history, after the prelude.
-- KEYS[6] says what there is, KEYS[7] is the list, KEYS[8] has the changes.
local NAMES = {'id', 'epoch', 'first', 'last', 'count', 'list', 'bytes', 'runs', 'filling',
  'leader', 'until', 'note', 'looked', 'at', 'interval', 'failed', 'why'}
local found, known = redis.call('HMGET', KEYS[6], unpack(NAMES)), {}
for place, name in ipairs(NAMES) do known[name] = found[place] or nil end
for _, name in ipairs({'first', 'last', 'count', 'list', 'bytes', 'until'}) do
  known[name] = tonumber(known[name] or 0)
end

local function decimal(number) return string.format('%.0f', number) end

local function leads(token)
  return known.leader == token and time < known['until']
end

local function keep(span)
  for place = 6, 8 do redis.call('PEXPIRE', KEYS[place], span) end
end

local function put(position, value)
  known.list = known.list - redis.call('HSTRLEN', KEYS[7], position) + #value
  if redis.call('HSET', KEYS[7], position, value) == 1 then
    known.count, known.list = known.count + 1, known.list + #position
  end
end

local function remove(position)
  local before = redis.call('HSTRLEN', KEYS[7], position)
  if redis.call('HDEL', KEYS[7], position) == 1 then
    known.count, known.list = known.count - 1, known.list - #position - before
  end
end

local function add(position, kind, fields, value)
  known.last = known.last + 1
  redis.call('XADD', KEYS[8], decimal(known.last) .. '-0',
    'p', position, 'k', kind, 'f', fields, 'v', value)
  known.bytes = known.bytes + #position + #fields + #value
end

local function save()
  for _, name in ipairs({'first', 'last', 'count', 'list', 'bytes'}) do
    redis.call('HSET', KEYS[6], name, decimal(known[name]))
  end
end

-- A look has ended that began after the entry before this number.
local function looked(number, interval)
  redis.call('HSET', KEYS[6], 'looked', number, 'at', decimal(time), 'interval', interval)
  redis.call('HDEL', KEYS[6], 'failed', 'why')
end

-- All replicas read it, and look again what there is.
local function wake(what) append('k', 'h', 't', what) end
