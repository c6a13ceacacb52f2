-- KEYS epoch tail log open members turn request; one that is not needed is the epoch
-- ARGV epoch write target lasts token attempt intent unnamed process kept
-- `unnamed` is the fingerprint of a request that no caller can name: its record begins here.
if ARGV[5] ~= '' then
  local turn = redis.call('HMGET', KEYS[6], 'token', 'until')
  if turn[1] ~= ARGV[5] or time >= tonumber(turn[2]) then return {'LOST'} end
end
if ARGV[6] ~= '' then
  local key, known = KEYS[7], read(KEYS[7])
  if not known.state and ARGV[8] ~= '' then
    redis.call('HSET', key, 'fingerprint', ARGV[8], 'state', 'R', 'attempt', ARGV[6],
      'generation', 1, 'until', string.format('%.0f', time + ARGV[4]))
    redis.call('PEXPIRE', key, ARGV[4] + ARGV[10])
    known = read(key)
  end
  local is_mine = known.state == 'R' and known.attempt == ARGV[6]
  if not is_mine or time >= tonumber(known['until']) then return {'LOST'} end
  if ARGV[7] ~= '' then
    redis.call('HSET', key, 'intent', ARGV[7])
    redis.call('HDEL', key, 'ended')
    has_sender(key, known, ARGV[6])
    belongs(key, known, ARGV[9])
  end
end
announce(ARGV[2], ARGV[3], ARGV[4])
return {'OPENED'}
