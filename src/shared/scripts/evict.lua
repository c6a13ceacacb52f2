-- KEYS epoch tail log open members
-- ARGV epoch below session...
for place = 3, #ARGV do
  local applied = redis.call('HGET', KEYS[5], ARGV[place])
  if applied and tonumber(applied) < tonumber(ARGV[2]) then
    redis.call('HDEL', KEYS[5], ARGV[place])
  end
end
return {'OK'}
