-- KEYS epoch tail log open members turn request; one that is not needed is the epoch
-- ARGV epoch write target left is_open token known_in grace
--      attempt fingerprint generation state span intent ended result kept process
local before = epoch[4]
local follows = before == '' or string.find(before, ' ' .. ARGV[7] .. ' ', 1, true) ~= nil
local left = tonumber(ARGV[4])
if left >= 0 and ARGV[5] == '1' then announce(ARGV[2], ARGV[3], ARGV[4]) end

local has_turn = 1
if ARGV[6] ~= '' then
  local turn = redis.call('HMGET', KEYS[6], 'token', 'until')
  local is_mine = turn[1] == ARGV[6] and time < tonumber(turn[2])
  if left > 0 and (is_mine or (follows and grace_left(ARGV[8]) > 0)) then
    redis.call('HSET', KEYS[6], 'token', ARGV[6], 'until', string.format('%.0f', time + left))
    redis.call('PEXPIRE', KEYS[6], left)
  else
    has_turn = 0
  end
end

local function restore_record()
  local key, known, generation = KEYS[7], read(KEYS[7]), tonumber(ARGV[11])
  if known.state then
    local other = tonumber(known.generation)
    local is_same = known.attempt == ARGV[9] and other == generation
    if known.fingerprint ~= ARGV[10] then return 0 end
    if not is_same and (not follows or other >= generation) then return 0 end
    if is_same and known.state ~= 'R' then return 1 end
  end
  redis.call('DEL', key)
  if known.owner then redis.call('HDEL', sent_by(known.owner), key) end
  local state, ends = ARGV[12], time
  if state == 'R' then ends = time + ARGV[13] end
  redis.call('HSET', key, 'fingerprint', ARGV[10], 'state', 'R', 'attempt', ARGV[9],
    'generation', generation, 'until', string.format('%.0f', ends))
  local restored = {attempt = ARGV[9], generation = ARGV[11]}
  if ARGV[14] ~= '' then
    restored.intent = ARGV[14]
    redis.call('HSET', key, 'intent', ARGV[14])
    belongs(key, restored, ARGV[18])
    if ARGV[15] == '' then has_sender(key, restored, ARGV[9]) end
  end
  if ARGV[15] ~= '' then
    restored.ended = string.format('%.0f', time - ARGV[15])
    redis.call('HSET', key, 'ended', restored.ended)
  end
  if state == 'R' then
    redis.call('PEXPIRE', key, ARGV[13] + ARGV[17])
  else
    local at = string.format('%.0f', time - ARGV[13])
    finish(key, restored, state, '', at, 0, ARGV[16], ARGV[17], ARGV[18])
  end
  return 1
end
local has_record = 1
if ARGV[9] ~= '' then has_record = restore_record() end
return {'RESTORED', has_turn, has_record}
