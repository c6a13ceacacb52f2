-- KEYS refused
-- ARGV kind, or '' for any
local own = refused(KEYS[1])
if own[4] and (ARGV[1] == '' or own[4] == ARGV[1]) then end_pause(KEYS[1]) end
return {'OK'}
