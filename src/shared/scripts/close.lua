-- KEYS epoch tail log open members turn request; one that is not needed is the epoch
-- ARGV epoch write target state token attempt intent result kept name process made
local state = ARGV[4]
local was_open = redis.call('HDEL', KEYS[4], ARGV[2]) == 1
-- Told again if the answer was lost: that does no harm.
if was_open or state == 'D' or state == 'U' then
  append('k', 'c', 'w', ARGV[2], 't', ARGV[3], 'u', state == 'U' and 1 or 0, 'r', ARGV[10],
    'm', ARGV[12])
  -- Those who watch the account want a look that begins after this.
  redis.call('HSET', KEYS[2] .. ':ends', string.match(ARGV[3], '^[^/]*'), tail())
end
if ARGV[5] ~= '' and redis.call('HGET', KEYS[6], 'token') == ARGV[5] then
  redis.call('DEL', KEYS[6])
end
local was_mine = 1
if ARGV[6] ~= '' then
  local known = read(KEYS[7])
  if known.attempt ~= ARGV[6] then
    was_mine = 0
  elseif known.state == 'R' then
    finish(KEYS[7], known, state, ARGV[7], string.format('%.0f', time), tail(), ARGV[8], ARGV[9],
      ARGV[11])
  end
end
return {'CLOSED', epoch[1], tail(), redis.call('HGETALL', KEYS[5]), was_mine}
