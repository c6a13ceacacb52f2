-- KEYS login
-- ARGV credentials kind, or '' for any
local own = refused(KEYS[1], ARGV[1])
if own[4] and (ARGV[2] == '' or own[4] == ARGV[2]) then
  redis.call('HDEL', KEYS[1], 'credentials', 'paused', 'span')
end
return {'OK'}
