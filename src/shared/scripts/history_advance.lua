-- KEYS epoch tail log open members history list changes
-- ARGV epoch token id expected is_end looked interval most most_bytes kept what
--      (position kind fields value)...
if not leads(ARGV[2]) or known.id ~= ARGV[3] or known.epoch ~= epoch[1]
  or known.last ~= tonumber(ARGV[4]) then
  return {'LOST'}
end
local before = known.last
for place = 12, #ARGV, 4 do
  local position, kind, value = ARGV[place], ARGV[place + 1], ARGV[place + 3]
  add(position, kind, ARGV[place + 2], value)
  if kind == 'r' then remove(position) else put(position, value) end
end
local most, most_bytes = ARGV[8] + 2 * known.count, ARGV[9] + 2 * known.list
local first = known.first
while known.first <= before
  and (known.last - known.first + 1 > most or known.bytes > most_bytes) do
  local id = decimal(known.first) .. '-0'
  local oldest = redis.call('XRANGE', KEYS[8], id, id)[1]
  for place = 2, 8, 2 do
    -- The kind is not counted.
    if place ~= 4 then known.bytes = known.bytes - #oldest[2][place] end
  end
  known.first = known.first + 1
end
if known.first > first then
  redis.call('XTRIM', KEYS[8], 'MINID', decimal(known.first) .. '-0')
end
save()
if ARGV[5] == '1' then looked(ARGV[6], ARGV[7]) end
wake(ARGV[11])
keep(ARGV[10])
return {'DONE'}
