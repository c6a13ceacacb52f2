-- KEYS rate
-- ARGV full burst requests longest_wait
-- The k-th request goes when there is room in the burst for it and for all before it.
local interval = 1000 / rate
local burst = math.max(1, math.floor(ARGV[2] * rate / full))
local next = math.max(time, tonumber(known[5] or 0))
local start = math.max(time, paused)
local function at(request) return math.max(start, next + (request - burst) * interval) end
local first, last = at(1) - time, at(tonumber(ARGV[3])) - time
if last > tonumber(ARGV[4]) then
  return {paused > time and 'PAUSED' or 'LATE', math.ceil(last)}
end
redis.call('HSET', KEYS[1], 'rate', string.format('%.6f', rate), 'seen', time,
  'next', string.format('%.3f', next + ARGV[3] * interval))
redis.call('PEXPIRE', KEYS[1], 600000)
return {'RESERVED', math.ceil(first), math.ceil(last), math.ceil(interval * 1000)}
