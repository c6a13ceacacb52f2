-- KEYS epoch tail log open members history list changes
-- ARGV epoch token id is_first is_end first last runs looked interval kept what
--      (position kind fields value)...; the kind of what is in the list is empty
if not leads(ARGV[2]) then return {'LOST'} end
if ARGV[4] == '1' then
  redis.call('DEL', KEYS[7], KEYS[8])
  redis.call('HDEL', KEYS[6], 'id', 'runs', 'looked', 'at', 'failed', 'why')
  redis.call('HSET', KEYS[6], 'filling', ARGV[3])
  known.count, known.list, known.bytes = 0, 0, 0
  known.first, known.last = tonumber(ARGV[6]), ARGV[6] - 1
elseif known.filling ~= ARGV[3] then
  return {'LOST'}
end
for place = 13, #ARGV, 4 do
  if ARGV[place + 1] == '' then
    put(ARGV[place], ARGV[place + 3])
  else
    add(ARGV[place], ARGV[place + 1], ARGV[place + 2], ARGV[place + 3])
  end
end
if ARGV[5] == '1' then
  if known.last ~= tonumber(ARGV[7]) then return {'LOST'} end
  redis.call('HSET', KEYS[6], 'id', ARGV[3], 'epoch', epoch[1], 'runs', ARGV[8])
  redis.call('HDEL', KEYS[6], 'filling')
  if ARGV[9] ~= '0' then looked(ARGV[9], ARGV[10]) end
  wake(ARGV[12])
end
save()
keep(ARGV[11])
return {'DONE'}
