-- KEYS epoch tail log open members
-- ARGV epoch target
if ARGV[2] == '' then append('k', 'p') else append('k', 'p', 't', ARGV[2]) end
return {'CLOSED', epoch[1], tail(), redis.call('HGETALL', KEYS[5]), 1}
