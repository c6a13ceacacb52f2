-- KEYS login refused
-- ARGV holder lasts beginning left span kind reason told
-- A replica that knows of another beginning says what is left of a pause that it knows of.
local time = now()
local own = refused(KEYS[2])
if tonumber(ARGV[4]) > 0 and (own[1] == '' or ARGV[3] ~= own[1]) then
  pause(KEYS[2], unpack(ARGV, 4))
end
kept(KEYS[2], ARGV[1])
own = refused(KEYS[2])
if own[2] and own[2] > 0 then return {'PAUSED', own} end
local known = redis.call('HMGET', KEYS[1], 'holder', 'until')
local is_held = known[1] and known[1] ~= ARGV[1] and time < tonumber(known[2])
if is_held then return {'BUSY', known[2] - time, own} end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', string.format('%.0f', time + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'GO'}
