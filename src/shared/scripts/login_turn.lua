-- KEYS login
-- ARGV credentials holder lasts beginning left span kind reason told
-- A replica that knows of another beginning says what is left of a pause that it knows of.
local time = now()
local own = refused(KEYS[1], ARGV[1])
if tonumber(ARGV[5]) > 0 and ARGV[4] ~= own[1] then
  pause(KEYS[1], ARGV[1], unpack(ARGV, 5))
end
kept(KEYS[1], ARGV[2])
own = refused(KEYS[1], ARGV[1])
if own[2] and own[2] > 0 then return {'PAUSED', own} end
local known = redis.call('HMGET', KEYS[1], 'holder', 'until')
local is_held = known[1] and known[1] ~= ARGV[2] and time < tonumber(known[2])
if is_held then return {'BUSY', known[2] - time} end
redis.call('HSET', KEYS[1], 'holder', ARGV[2], 'until', string.format('%.0f', time + ARGV[3]))
return {'GO'}
