-- KEYS epoch tail log open members
-- ARGV '' session leaves token settle grace process
if not is_valid then
  local before = ''
  if epoch[1] then
    if grace_left(ARGV[6]) > 0 then before = epoch[4] end
    before = string.sub(before .. ' ' .. epoch[1] .. ' ', -1000)
  end
  epoch = {string.format('%s-%.0f', ARGV[4], time), current, time, before}
  redis.call('HSET', KEYS[1], 'id', epoch[1], 'history', current, 'at', time, 'before', before)
  redis.call('DEL', KEYS[3], KEYS[5])
end
local open = {}
local all = redis.call('HGETALL', KEYS[4])
for place = 1, #all, 2 do
  local ends, target = string.match(all[place + 1], '^(%d+) (.*)$')
  if tonumber(ends) + ARGV[5] <= time then
    redis.call('HDEL', KEYS[4], all[place])
  else
    open[#open + 1] = {all[place], target, math.max(0, ends - time)}
  end
end
if ARGV[3] ~= '' then redis.call('HDEL', KEYS[5], ARGV[3]) end
redis.call('HSETNX', KEYS[5], ARGV[2], tail())
redis.call('HSET', ALIVE, ARGV[7], string.format('%.0f', time))
return {'OK', epoch[1], tail(), open}
