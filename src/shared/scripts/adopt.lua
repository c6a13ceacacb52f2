-- KEYS epoch tail log open members
-- ARGV epoch process limit also_own grace ended_after
-- Gives a process the doubts of those that have ended, and tells them.
local left, mine = {}, ARGV[2]
if grace_left(ARGV[5]) > 0 then return {'OK', left} end
local most = 1024

-- Takes over those of a process, until there are `most`. How many are left after that.
local function take(owner)
  local all = redis.call('HGETALL', sent_by(owner))
  local rest = #all / 2
  for place = 1, #all, 2 do
    if #left >= most then return rest end
    local key, known = all[place], read(all[place])
    local is_running = known.state == 'R'
    local is_over = known.state == 'U' or (is_running and time >= tonumber(known['until']))
    if known.owner ~= owner or not known.intent or not (is_over or is_running) then
      redis.call('HDEL', sent_by(owner), key)
      rest = rest - 1
    elseif is_over and belongs(key, known, mine) then
      if owner ~= mine then rest = rest - 1 end
      local sender = string.match(known.senders or '', '(%d+) $') or ''
      left[#left + 1] = {string.match(key, ':req:(.*)$'), known.intent,
        math.max(0, time - (known.ended or known['until'])), sender, is_running and 1 or 0}
    end
  end
  return rest
end

-- Its own come first: more of others must not hide those of which it was not told.
if ARGV[4] == '1' then take(mine) end
most = #left + tonumber(ARGV[3])
local all = redis.call('HGETALL', ALIVE)
for place = 1, #all, 2 do
  local has_ended = time >= all[place + 1] + ARGV[6]
  if has_ended and all[place] ~= mine and take(all[place]) == 0 then
    redis.call('HDEL', ALIVE, all[place])
  end
end
return {'OK', left}
