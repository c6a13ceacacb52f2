-- KEYS epoch tail log open members history list changes
-- ARGV epoch token looked why what
if not leads(ARGV[2]) then return {'LOST'} end
redis.call('HSET', KEYS[6], 'failed', ARGV[3], 'why', ARGV[4])
wake(ARGV[5])
return {'DONE'}
