-- KEYS login
-- ARGV credentials holder outcome first longest kind reason told
local known = redis.call('HMGET', KEYS[1], 'holder', 'done')
-- Told again, because the answer was lost.
if known[2] ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'done', ARGV[2])
  if known[1] == ARGV[2] then redis.call('HDEL', KEYS[1], 'holder', 'until') end
  local own = refused(KEYS[1], ARGV[1])
  -- A login that the upstream accepts says nothing of the tokens that it gives.
  if ARGV[3] == 'accepted' and own[4] and own[4] ~= 'tokens' then
    redis.call('HDEL', KEYS[1], 'credentials', 'paused', 'span')
  elseif ARGV[3] == 'refused' then
    refuse(KEYS[1], ARGV[1], unpack(ARGV, 4))
  end
end
kept(KEYS[1], ARGV[2])
return {'OK', refused(KEYS[1], ARGV[1])}
