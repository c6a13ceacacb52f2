-- KEYS epoch tail log open members history list changes
-- ARGV epoch id first last count
if known.id ~= ARGV[2] or known.epoch ~= epoch[1] then return {'LOST'} end
return {'CHANGES', redis.call('XRANGE', KEYS[8], ARGV[3] .. '-0', ARGV[4] .. '-0',
  'COUNT', ARGV[5])}
