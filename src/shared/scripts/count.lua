-- KEYS epoch tail log open members
-- ARGV epoch
return {'OK', redis.call('HGETALL', KEYS[5]), redis.call('HGETALL', ALIVE), time}
