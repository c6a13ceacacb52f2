-- KEYS epoch tail log open members history list changes
-- ARGV epoch fresh token lasts note kept what account
local is_whole = redis.call('HLEN', KEYS[7]) == known.count
  and redis.call('XLEN', KEYS[8]) == known.last - known.first + 1
if known.id and not is_whole then
  redis.call('DEL', KEYS[7], KEYS[8])
  redis.call('HDEL', KEYS[6], 'id', 'looked', 'failed', 'why', 'runs')
  known.id, known.looked, known.failed, known.why, known.runs = nil, nil, nil, nil, nil
elseif known.id and known.epoch ~= epoch[1] then
  -- All that is here was told so, but later changes may be lost: their numbers are given again.
  local runs = (known.runs or '') .. ' ' .. known.id .. ':' .. decimal(known.last)
  known.runs = string.match(string.sub(runs, -2000), ' .*$')
  known.id, known.looked, known.failed, known.why = ARGV[2], nil, nil, nil
  redis.call('HSET', KEYS[6], 'id', known.id, 'epoch', epoch[1], 'runs', known.runs)
  redis.call('HDEL', KEYS[6], 'looked', 'failed', 'why')
end
local has_turn, lasts = 0, tonumber(ARGV[4])
local is_mine = known.leader == ARGV[3]
if ARGV[3] == '' then
  lasts = 0
elseif lasts == 0 and is_mine then
  redis.call('HDEL', KEYS[6], 'leader', 'until', 'note')
  known.leader, known['until'], known.note = nil, 0, nil
  wake(ARGV[7])
elseif lasts > 0 and (is_mine or time >= known['until']) then
  if (known.note or '') ~= ARGV[5] then wake(ARGV[7]) end
  known['until'], known.note, has_turn = time + lasts, ARGV[5], 1
  redis.call('HSET', KEYS[6], 'leader', ARGV[3], 'until', decimal(time + lasts), 'note', ARGV[5])
  keep(ARGV[6])
end
local ended = redis.call('HGET', KEYS[2] .. ':ends', ARGV[8])
return {'HISTORY', known.id or '', known.first, known.last, known.runs or '', known.looked or 0,
  math.max(0, time - (known.at or time)), known.interval or 0, known.failed or 0, known.why or '',
  has_turn, math.max(0, known['until'] - time), known.note or '', ended and ended + 1 or 0, tail()}
