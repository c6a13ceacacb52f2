-- KEYS rights
-- Does what all other scripts do, and what is read without a script, to a key of its own: who may do
-- this may do those.
local key = KEYS[1]
redis.call('TIME')
redis.call('INFO', 'replication')
redis.call('DEL', key)
redis.call('HSET', key, 'a', 1)
redis.call('PEXPIRE', key, 60000)
redis.call('HSETNX', key, 'a', 1)
redis.call('HEXISTS', key, 'a')
redis.call('HGET', key, 'a')
redis.call('HMGET', key, 'a')
redis.call('HGETALL', key)
redis.call('HSCAN', key, 0)
redis.call('HLEN', key)
redis.call('HSTRLEN', key, 'a')
redis.call('HINCRBY', key, 'a', 1)
redis.call('HDEL', key, 'a')
redis.call('INCR', key)
redis.call('GET', key)
redis.call('DEL', key)
redis.call('XADD', key, '*', 'a', 1)
redis.call('XLEN', key)
redis.call('XRANGE', key, '-', '+')
redis.call('XTRIM', key, 'MAXLEN', 0)
redis.call('DEL', key)
return {'OK'}
