-- Begins the scripts of the rate. KEYS[1] is the rate; ARGV[1] is the full rate per second, or 0
-- for none.
local time, full = now(), tonumber(ARGV[1])
local known = redis.call('HMGET', KEYS[1], 'rate', 'seen', 'paused', 'lowered', 'next', 'strikes',
  'ends')
-- A lowered rate regains a twentieth of the full one each second. The full one may be another now.
local rate = math.max(tonumber(known[1] or full), full / 32)
rate = math.min(full, rate + full * math.max(0, time - (known[2] or time)) / 20000)
local paused = tonumber(known[3] or 0)
