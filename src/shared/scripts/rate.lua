-- Begins the scripts of the rate. KEYS[1] is the rate; ARGV[1] is the full rate per second.
local time, full = now(), tonumber(ARGV[1])
local known = redis.call('HMGET', KEYS[1], 'rate', 'seen', 'paused', 'lowered', 'next')
-- A lowered rate regains a twentieth of the full one each second.
local rate = tonumber(known[1] or full)
rate = math.min(full, rate + full * math.max(0, time - (known[2] or time)) / 20000)
local paused = tonumber(known[3] or 0)
