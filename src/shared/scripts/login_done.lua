-- KEYS login
-- ARGV credentials holder outcome first longest
local time = now()
local known = redis.call('HMGET', KEYS[1], 'holder', 'done', 'failures', 'credentials')
-- Told again, because the answer was lost.
if known[2] == ARGV[2] then return {'OK'} end
redis.call('HSET', KEYS[1], 'done', ARGV[2])
if known[1] == ARGV[2] then redis.call('HDEL', KEYS[1], 'holder', 'until') end
if ARGV[3] == 'accepted' then
  redis.call('HDEL', KEYS[1], 'failures', 'credentials', 'paused')
elseif ARGV[3] == 'refused' then
  -- Those of other credentials say nothing of these.
  local failures = known[4] == ARGV[1] and tonumber(known[3] or 0) or 0
  local pause = math.min(ARGV[4] * 2 ^ failures, tonumber(ARGV[5]))
  redis.call('HSET', KEYS[1], 'failures', failures + 1, 'credentials', ARGV[1],
    'paused', string.format('%.0f', time + pause))
end
redis.call('PEXPIRE', KEYS[1], 7200000)
return {'OK'}
