-- KEYS login
-- ARGV credentials token first longest kind reason told
-- Replicas that find the same at a time make one pause of it.
local own = refused(KEYS[1], ARGV[1])
if not (own[2] and own[2] > 0 and own[4] == ARGV[5]) then
  refuse(KEYS[1], ARGV[1], unpack(ARGV, 3))
end
kept(KEYS[1], ARGV[2])
return {'OK', refused(KEYS[1], ARGV[1])}
