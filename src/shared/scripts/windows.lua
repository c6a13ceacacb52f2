-- The windows of an account: each a hash of counts, one for each sixtieth of its length. A request
-- counts until the whole sixtieth in which it was sent is out of the window.
local PARTS = 60

-- One window. A replica that knows of another beginning says how much was used of it at `least`.
local function window(key, limit, part, beginning, least, alone)
  local current, used, parts = math.floor(time / part), 0, {}
  local all, began = redis.call('HGETALL', key), ''
  for place = 1, #all, 2 do
    local number = tonumber(all[place])
    if not number then
      began = all[place + 1]
    elseif math.abs(number - current) > PARTS then
      redis.call('HDEL', key, all[place])
    else
      used = used + all[place + 1]
      parts[#parts + 1] = {number, tonumber(all[place + 1])}
    end
  end
  table.sort(parts, function(a, b) return a[1] < b[1] end)
  if beginning ~= '' and beginning ~= began then alone = math.max(alone, least - used) end
  return {key = key, limit = limit, part = part, current = current, used = used, parts = parts,
    began = began, alone = alone, new = alone}
end

-- Those of KEYS from `key` on, each with five words of ARGV from `word` on.
local function windows(key, word)
  local all = {}
  for place = key, #KEYS do
    local first = word + (place - key) * 5
    all[#all + 1] = window(KEYS[place], tonumber(ARGV[first]), tonumber(ARGV[first + 1]),
      ARGV[first + 2], tonumber(ARGV[first + 3]), tonumber(ARGV[first + 4]))
  end
  return all
end

-- How long a request of a class waits for a window: the first class may use all of it, and each
-- further one leaves a fifth to each before it.
local function waits(own, rank)
  local allowed = math.max(1, own.limit - math.floor(own.limit / 5) * rank)
  local over, freed = own.used + own.new + 1 - allowed, 0
  if over <= 0 then return 0 end
  for _, known in ipairs(own.parts) do
    freed = freed + known[2]
    if freed >= over then return (known[1] + PARTS + 1) * own.part - time end
  end
  return (PARTS + 1) * own.part
end

-- Keeps what is new, and gives all that is known: the beginning, how long ago the current sixtieth
-- began, and the counts, each after the number of sixtieths since its own.
local function counted(all, token)
  local answer = {}
  for place, own in ipairs(all) do
    if own.new > 0 then
      if own.began == '' then
        own.began = token
        redis.call('HSET', own.key, 'began', token)
      end
      redis.call('HINCRBY', own.key, string.format('%.0f', own.current), own.new)
      redis.call('PEXPIRE', own.key, math.ceil((PARTS + 2) * own.part))
      own.parts[#own.parts + 1] = {own.current, own.new}
    end
    local parts = {}
    for _, known in ipairs(own.parts) do
      parts[#parts + 1] = math.max(0, own.current - known[1])
      parts[#parts + 1] = known[2]
    end
    answer[place] = {own.began, math.floor(time - own.current * own.part), parts}
  end
  return answer
end
