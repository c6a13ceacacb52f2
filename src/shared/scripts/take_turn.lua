-- KEYS epoch tail log open members turn
-- ARGV epoch token lasts grace
local turn = redis.call('HMGET', KEYS[6], 'token', 'until')
local is_held = turn[1] and time < tonumber(turn[2])
if not (is_held and turn[1] == ARGV[2]) then
  local grace = grace_left(ARGV[4])
  if grace > 0 then return {'GRACE', grace} end
  if is_held then return {'HELD', turn[2] - time} end
end
redis.call('HSET', KEYS[6], 'token', ARGV[2], 'until', string.format('%.0f', time + ARGV[3]))
redis.call('PEXPIRE', KEYS[6], ARGV[3])
return {'TAKEN'}
