-- KEYS login
-- ARGV credentials holder lasts most window
local time = now()
local known = redis.call('HMGET', KEYS[1], 'holder', 'until', 'credentials', 'paused', 'began',
  'count')
if known[3] == ARGV[1] and known[4] and time < tonumber(known[4]) then
  return {'PAUSED', known[4] - time}
end
local is_held = known[1] and time < tonumber(known[2])
if is_held and known[1] == ARGV[2] then return {'GO'} end
if is_held then return {'BUSY', known[2] - time} end
local began, count = tonumber(known[5] or 0), tonumber(known[6] or 0)
if time >= began + ARGV[5] then began, count = time, 0 end
if count >= tonumber(ARGV[4]) then return {'PAUSED', began + ARGV[5] - time} end
redis.call('HSET', KEYS[1], 'holder', ARGV[2], 'until', string.format('%.0f', time + ARGV[3]),
  'began', string.format('%.0f', began), 'count', count + 1)
redis.call('PEXPIRE', KEYS[1], 7200000)
return {'GO'}
