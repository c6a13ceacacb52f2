-- KEYS rate
-- ARGV full pause strikes again
-- `again` is 1 for a pause that a replica knows of and the server may have lost: the rate was
-- lowered for it once.
local lowered = tonumber(known[4] or 0)
local is_new = ARGV[4] == '0' or paused <= time
-- Those that answer requests of the same time count once.
if is_new and time >= lowered + 1000 then rate, lowered = math.max(rate / 2, full / 32), time end
paused = math.max(paused, time + ARGV[2])
redis.call('HSET', KEYS[1], 'rate', string.format('%.6f', rate), 'seen', time,
  'paused', string.format('%.0f', paused), 'lowered', string.format('%.0f', lowered),
  'strikes', ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.max(600000, paused - time + 60000))
return {'OK', paused - time}
