-- KEYS rate
-- The number of ends tells other replicas that a pause which they know of has ended. What was
-- reserved for after it keeps no one waiting.
local ended = 0
if paused > time then
  redis.call('HSET', KEYS[1], 'paused', 0)
  redis.call('HDEL', KEYS[1], 'next')
  redis.call('HINCRBY', KEYS[1], 'ends', 1)
  ended = 1
end
return {'OK', ended}
