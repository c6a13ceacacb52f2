-- KEYS rate members refused windows..
-- ARGV full burst horizon alone token settling call list watch, and for each window limit part
--   beginning least alone
-- The k-th request goes when there is room in the burst for it and for all before it, and in the
-- windows for its class. Those of the first class go first.
local interval = full > 0 and 1000 / rate or 0
local burst = full > 0 and math.max(1, math.floor(ARGV[2] * rate / full)) or 0
-- At the end of a pause there is room for one, and then for what the rate gives: no burst.
local resumes = paused + (burst - 1) * interval
local next = math.max(time, tonumber(known[5] or 0), resumes) + math.min(ARGV[4], burst) * interval
local start, horizon, granted = math.max(time, paused), tonumber(ARGV[3]), 0
local all = windows(4, 10)

local function at(request) return math.max(start, next + (request - burst) * interval) - time end

local function stopped(rank)
  local why, wait = '', 0
  local rated = at(granted + 1)
  if rated > horizon then why, wait = paused > time and 'PAUSE' or 'RATE', rated end
  for place, own in ipairs(all) do
    local free = waits(own, rank)
    if free > wait then why, wait = 'WINDOW' .. place, free end
  end
  return why, math.ceil(wait)
end

local why, wait = '', 0
for rank = 0, 3 do
  for _ = 1, tonumber(ARGV[6 + rank]) do
    why, wait = stopped(rank)
    if why ~= '' then break end
    granted = granted + 1
    for _, own in ipairs(all) do own.new = own.new + 1 end
  end
  if why ~= '' then break end
end

local first, last = 0, 0
if granted > 0 then first, last = math.ceil(at(1)), math.ceil(at(granted)) end
if granted > 0 or tonumber(ARGV[4]) > 0 then
  redis.call('HSET', KEYS[1], 'rate', string.format('%.6f', rate), 'seen', time,
    'next', string.format('%.3f', next + granted * interval))
  redis.call('PEXPIRE', KEYS[1], 600000)
end
return {granted, first, last, math.ceil(interval * 1000), why, wait,
  redis.call('HLEN', KEYS[2]), math.max(0, paused - time), tonumber(known[6] or 0),
  tonumber(known[7] or 0), math.floor(rate * 1000), refused(KEYS[3]),
  counted(all, ARGV[5])}
