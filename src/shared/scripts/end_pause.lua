-- KEYS rate
-- The number of ends tells other replicas that a pause which they know of has ended.
if paused > time then
  redis.call('HSET', KEYS[1], 'paused', 0)
  redis.call('HINCRBY', KEYS[1], 'ends', 1)
end
return {'OK'}
