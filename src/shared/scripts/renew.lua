-- KEYS epoch tail log open members
-- ARGV epoch session applied process
local known = redis.call('HGET', KEYS[5], ARGV[2])
if not known then return {'GONE'} end
is_alive(ARGV[4])
local applied, last = tonumber(ARGV[3]), tail()
if applied > tonumber(known) and applied <= last then
  redis.call('HSET', KEYS[5], ARGV[2], applied)
end
-- A primary that others have left, and that knows it by its replicas, takes no writes: the log of
-- another one may go on. This changes nothing, and one whose memory is full does it.
local written = redis.pcall('HDEL', KEYS[5], '')
if applied == last and type(written) == 'number' then return {'VALID'} end
return {'BEHIND', last}
