-- KEYS epoch tail log open members
-- ARGV epoch session applied process
local known = redis.call('HGET', KEYS[5], ARGV[2])
if not known then return {'GONE'} end
is_alive(ARGV[4])
local applied, last = tonumber(ARGV[3]), tail()
if applied > tonumber(known) and applied <= last then
  redis.call('HSET', KEYS[5], ARGV[2], applied)
end
if applied == last then return {'VALID'} end
return {'BEHIND', last}
