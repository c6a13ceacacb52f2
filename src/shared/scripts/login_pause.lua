-- KEYS refused
-- ARGV token first longest kind reason told
-- Replicas that find the same at a time make one pause of it.
local own = refused(KEYS[1])
if not (own[2] and own[2] > 0 and own[4] == ARGV[4]) then refuse(KEYS[1], unpack(ARGV, 2)) end
kept(KEYS[1], ARGV[1])
return {'OK', refused(KEYS[1])}
