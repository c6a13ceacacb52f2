-- KEYS refused
-- ARGV token first longest kind reason told
refuse(KEYS[1], unpack(ARGV, 2))
kept(KEYS[1], ARGV[1])
return {'OK', refused(KEYS[1])}
