-- The pause of logins after credentials were refused, or the tokens that they gave.
local REFUSED = {'credentials', 'paused', 'span', 'kind', 'reason', 'told', 'began'}

-- What is known of these credentials: the beginning of what is kept, and the pause. It is over
-- with 0 milliseconds, and then one login tries.
local function refused(key, credentials)
  local known = redis.call('HMGET', key, unpack(REFUSED))
  if not known[2] or known[1] ~= credentials then return {known[7] or ''} end
  return {known[7] or '', math.max(0, known[2] - now()), tonumber(known[3]), known[4],
    tonumber(known[5]), known[6]}
end

-- Logins with these credentials wait at least so long.
local function pause(key, credentials, left, span, kind, reason, told)
  local before = refused(key, credentials)
  if before[2] and before[2] >= tonumber(left) then return end
  redis.call('HSET', key, 'credentials', credentials, 'paused', string.format('%.0f', now() + left),
    'span', span, 'kind', kind, 'reason', reason, 'told', told)
end

-- The same after a refusal, twice as long as the one before of the same kind.
local function refuse(key, credentials, first, longest, kind, reason, told)
  local before = refused(key, credentials)
  local span = before[4] == kind and math.min(before[3] * 2, tonumber(longest)) or first
  pause(key, credentials, span, span, kind, reason, told)
end

-- Ends each script: the key lives longer than any pause.
local function kept(key, token)
  redis.call('HSETNX', key, 'began', token)
  redis.call('PEXPIRE', key, 7200000)
end
