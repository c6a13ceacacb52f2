-- KEYS login
-- ARGV credentials span
local time = now()
local known = redis.call('HMGET', KEYS[1], 'credentials', 'paused')
local paused = known[1] == ARGV[1] and tonumber(known[2] or 0) or 0
redis.call('HSET', KEYS[1], 'credentials', ARGV[1],
  'paused', string.format('%.0f', math.max(paused, time + ARGV[2])))
redis.call('PEXPIRE', KEYS[1], 7200000)
return {'OK'}
