-- KEYS login refused
-- ARGV holder outcome first longest kind reason told
-- The turn is that of the account, and what comes of it is true for the credentials.
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then redis.call('DEL', KEYS[1]) end
-- Told again, because the answer was lost.
if redis.call('HGET', KEYS[2], 'done') ~= ARGV[1] then
  redis.call('HSET', KEYS[2], 'done', ARGV[1])
  local own = refused(KEYS[2])
  -- A login that the upstream accepts says nothing of the tokens that it gives.
  if ARGV[2] == 'accepted' and own[4] and own[4] ~= 'tokens' then
    end_pause(KEYS[2])
  elseif ARGV[2] == 'refused' then
    refuse(KEYS[2], unpack(ARGV, 3))
  end
end
kept(KEYS[2], ARGV[1])
return {'OK', refused(KEYS[2])}
