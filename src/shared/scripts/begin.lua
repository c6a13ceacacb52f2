-- KEYS epoch tail log open members request
-- ARGV epoch fingerprint attempt lasts grace kept doubted
local key, known, grace = KEYS[6], read(KEYS[6]), grace_left(ARGV[5])
local function run(generation)
  redis.call('HSET', key, 'fingerprint', ARGV[2], 'state', 'R', 'attempt', ARGV[3],
    'generation', generation, 'until', string.format('%.0f', time + ARGV[4]))
  redis.call('PEXPIRE', key, ARGV[4] + ARGV[6])
end
if not known.state then
  if grace > 0 then return {'GRACE', grace} end
  run(1)
  return {'FRESH', 1, 0}
end
if known.fingerprint ~= ARGV[2] then return {'REUSED'} end
if known.state == 'D' then
  local number = math.min(known.number, tail())
  return {'DONE', known.result, epoch[1], number, redis.call('HGETALL', KEYS[5]), 1}
end
local is_running = known.state == 'R' and time < tonumber(known['until'])
local is_mine = is_running and known.attempt == ARGV[3]
if is_running and not is_mine then return {'RUNNING', known['until'] - time} end
-- A later attempt may not be restored yet.
if grace > 0 and not is_mine then return {'GRACE', grace} end
local generation = tonumber(known.generation)
if not is_mine then
  generation = generation + 1
  if known.state == 'N' or not known.intent then
    known.intent, known.ended = nil, nil
    redis.call('HDEL', key, 'intent', 'ended')
  elseif not known.ended then
    known.ended = known['until']
    redis.call('HSET', key, 'ended', known.ended)
  end
end
run(generation)
if known.intent and known.ended then
  return {'UNKNOWN', generation, known.intent, math.max(0, time - known.ended)}
end
return {'FRESH', generation, has(known.denied, ARGV[7]) and 1 or 0}
