-- KEYS epoch tail log open members request...
-- ARGV epoch attempt...
-- Of each request, whether it took effect, or what this attempt at it has sent had no effect.
local settled = {}
for place = 6, #KEYS do
  local known = redis.call('HMGET', KEYS[place], 'state', 'denied')
  local is_denied = has(known[2] or nil, ARGV[place - 4])
  settled[place - 5] = (known[1] == 'D' or is_denied) and 1 or 0
end
return {'OK', settled}
