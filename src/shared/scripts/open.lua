-- KEYS epoch tail log open members turn request; one that is not needed is the epoch
-- ARGV epoch write target lasts token attempt intent
if ARGV[6] ~= '' then
  local known = read(KEYS[7])
  local is_mine = known.state == 'R' and known.attempt == ARGV[6]
  if not is_mine or time >= tonumber(known['until']) then return {'LOST'} end
end
if ARGV[5] ~= '' then
  local turn = redis.call('HMGET', KEYS[6], 'token', 'until')
  if turn[1] ~= ARGV[5] or time >= tonumber(turn[2]) then return {'LOST'} end
end
if ARGV[6] ~= '' and ARGV[7] ~= '' then
  redis.call('HSET', KEYS[7], 'intent', ARGV[7])
  redis.call('HDEL', KEYS[7], 'ended')
end
announce(ARGV[2], ARGV[3], ARGV[4])
return {'OPENED'}
