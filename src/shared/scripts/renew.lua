-- KEYS epoch tail log open members
-- ARGV epoch session applied
local known = redis.call('HGET', KEYS[5], ARGV[2])
if not known then return {'GONE'} end
local applied, last = tonumber(ARGV[3]), tail()
if applied > tonumber(known) and applied <= last then
  redis.call('HSET', KEYS[5], ARGV[2], applied)
end
if applied == last then return {'VALID'} end
return {'BEHIND', last}
