-- KEYS windows..
-- ARGV token, and for each window limit part beginning least alone
local all = windows(1, 2)
local place, wait = 0, 0
for number, own in ipairs(all) do
  local free = math.ceil(waits(own, 0))
  if free > wait then place, wait = number, free end
end
if wait == 0 then
  for _, own in ipairs(all) do own.new = own.new + 1 end
end
return {place, wait, counted(all, ARGV[1])}
