-- The pause of logins after credentials were refused, or the tokens that they gave. Each key is
-- that of one set of credentials: what the upstream says of others says nothing of these.
local REFUSED = {'began', 'paused', 'span', 'kind', 'reason', 'told'}

-- What is known of these credentials: the beginning of what is kept, and the pause. It is over
-- with 0 milliseconds, and then one login tries.
local function refused(key)
  local known = redis.call('HMGET', key, unpack(REFUSED))
  if not known[2] then return {known[1] or ''} end
  return {known[1] or '', math.max(0, known[2] - now()), tonumber(known[3]), known[4],
    tonumber(known[5]), known[6]}
end

-- Logins with these credentials wait at least so long.
local function pause(key, left, span, kind, reason, told)
  local before = refused(key)
  if before[2] and before[2] >= tonumber(left) then return end
  redis.call('HSET', key, 'paused', string.format('%.0f', now() + left), 'span', span,
    'kind', kind, 'reason', reason, 'told', told)
end

-- The same after a refusal, twice as long as the one before of the same kind. That one may be what
-- was left of a pause, and short. While it lasts, it is the pause for this refusal too: several
-- replicas find the same, and one may have told of the pause before it says how its login ended.
local function refuse(key, first, longest, kind, reason, told)
  local before, span = refused(key), tonumber(first)
  if before[2] and before[2] > 0 and before[4] == kind then return end
  if before[4] == kind then span = math.max(span, math.min(before[3] * 2, tonumber(longest))) end
  pause(key, span, span, kind, reason, told)
end

local function end_pause(key)
  redis.call('HDEL', key, 'paused', 'span', 'kind', 'reason', 'told')
end

-- Ends each script: the key lives longer than any pause.
local function kept(key, token)
  redis.call('HSETNX', key, 'began', token)
  redis.call('PEXPIRE', key, 7200000)
end
