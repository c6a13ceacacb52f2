-- KEYS refused
-- ARGV kind, or '' for any
-- Says whether there was a pause that was not over.
local own, ended = refused(KEYS[1]), 0
if own[4] and (ARGV[1] == '' or own[4] == ARGV[1]) then
  if own[2] > 0 then ended = 1 end
  end_pause(KEYS[1])
end
return {'OK', ended}
