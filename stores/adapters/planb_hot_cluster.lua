
-- The same on one node of a cluster: this stands behind planb_hot.lua in one library. A call is for all of a node's slots
-- that it touches, and each is looked at before the first write: so a node takes its part of a batch whole or not at all.
--
-- Of each slot, under a tag that falls into it:
--   {slot}:e  its epoch, and lane -> the greatest event id of what was applied here. It moves with the slot; a node that
--             lost its memory has none. Whether the epoch is published is known in {dc}: who asks for it knows that.
--   {slot}:v  is never there. In a slot that is just moving away, what is not there is asked for in vain: such a slot
--             is not served, for one of its keys might be here and the next one there.
-- {dc}: what one server has beside the lists, and the processes that may serve this epoch, as fields `node:<process>`.

local HOME = 'dc'
local function process(name) return 'node:' .. name end

-- Raises where one of the slots is elsewhere, or on its way.
local function look(tags)
  for _, tag in ipairs(tags) do call('EXISTS', key(tag, 'v')) end
end

local function in_epoch(tags, epoch)
  look(tags)
  for _, tag in ipairs(tags) do
    if call('HGET', key(tag, 'e'), 'epoch') ~= epoch then return false end
  end
  return true
end

-- args[1] of a reader: {epoch, tags of slots, floor, recent}.
local function given_by(head)
  return {
    floor = function() return pairs_of(head[3]) end,
    recent = function() return head[4] end,
  }
end

local function across(name, flags, body)
  register(name .. '_at', flags, function(args)
    local head = unpack_message(remove(args, 1))
    if not in_epoch(head[2], head[1]) then return lost() end
    return body(args, given_by(head))
  end)
end

across('pb_updates', { 'allow-cross-slot-keys', 'no-writes' }, readers.pb_updates)
across('pb_trimmed', { 'allow-cross-slot-keys', 'no-writes' }, readers.pb_trimmed)
across('pb_pts', { 'allow-cross-slot-keys', 'no-writes' }, readers.pb_pts)
across('pb_seen', { 'allow-cross-slot-keys', 'allow-oom' }, readers.pb_seen)
across('pb_dialogs', { 'allow-cross-slot-keys', 'allow-oom' }, readers.pb_dialogs) -- its channels are asked elsewhere
across('pb_unread', { 'allow-cross-slot-keys', 'allow-oom' }, readers.pb_unread)
across('pb_slots', { 'allow-cross-slot-keys', 'no-writes' }, function() return 1 end)

-- own_tops(user, conversation, ...): as his updates say.
across('pb_own_tops', { 'allow-cross-slot-keys', 'allow-oom' }, function(args)
  catch_up(args[1], size_of(args[1]))
  local answer = {}
  for i = 2, #args do answer[i - 1] = sub(call('HGET', key(args[1], 't'), args[i]) or ZERO, 1, 19) end
  return answer
end)

across('pb_channel_tops', { 'allow-cross-slot-keys', 'no-writes' }, function(args)
  local answer = {}
  for i, channel in ipairs(args) do answer[i] = call('GET', key(channel, 'c')) or ZERO end
  return answer
end)

across('pb_results', { 'allow-cross-slot-keys', 'no-writes' }, function(args)
  local answer = {}
  for i = 1, #args, 2 do insert(answer, call('GET', key2(args[i], 'q', args[i + 1]))) end
  return answer
end)

register('pb_decide_at', { 'allow-cross-slot-keys' }, decide)
register('pb_online_at', { 'allow-cross-slot-keys', 'no-writes' }, online)

-- Takes out of the feeds what may be in the lists already: it goes the way of what is back-fed, which looks there.
-- Returns the owners of such.
local function doubtful(args, batch, of, guards)
  local feeds, back, fresh, owners = batch[3], batch[4], {}, {}
  for i = 1, #feeds, 2 do
    local guard, new, old = guards[of[(i + 1) / 2]], {}, {}
    for _, at in ipairs(feeds[i + 1]) do
      local element = args[at + 1]
      insert(sub(element, 1, 19) <= (guard[sub(element, 21, 25)] or '') and old or new, at)
    end
    if #new > 0 then
      insert(fresh, feeds[i])
      insert(fresh, new)
    end
    if #old > 0 then
      insert(back, feeds[i])
      insert(back, old)
      insert(owners, feeds[i])
    end
  end
  batch[3] = fresh
  return owners
end

-- Results that came already may have been forgotten since.
local function unknown_results(results, of, guards)
  local fresh = {}
  for i = 1, #results, 3 do
    local id = sub(results[i + 2], 1, 19)
    if id > (guards[of[(i + 2) / 3]][lane_of(id)] or '') then
      for field = i, i + 2 do insert(fresh, results[field]) end
    end
  end
  return fresh
end

-- apply(payload, updates..., {tags, slot of each owner in feeds, of each result, bounds, ids where moves begin}): of one
-- node. Moves tell how far the lanes come, which is noted for each slot; FRONTIER is moved once all nodes have their parts.
register('pb_apply_at', { 'allow-cross-slot-keys' }, function(args)
  local head, batch = unpack_message(remove(args)), unpack_message(args[1])
  local wrong = malformed(batch, #args - 1)
  if wrong then return fail('MALFORMED', wrong) end
  local tags, moves, lanes, ends = head[1], batch[2], {}, {}
  for i = 1, #moves, 3 do
    insert(lanes, moves[i])
    insert(ends, moves[i])
    insert(ends, sub(moves[i + 2], 1, 19))
  end
  look(tags)
  local guards, passed = {}, false
  for i, tag in ipairs(tags) do
    local found = call('HMGET', key(tag, 'e'), 'epoch', unpack(lanes))
    if found[1] ~= batch[1] then return lost() end
    guards[i] = {}
    for k, lane in ipairs(lanes) do
      local id = found[k + 1]
      if id then guards[i][lane] = id end
      passed = passed or (id and id > head[5][k])
    end
  end
  local owners = {}
  if passed then
    owners = doubtful(args, batch, head[2], guards)
    batch[11] = unknown_results(batch[11], head[3], guards)
  end
  batch[2] = {}
  local ok, answer = pcall(function()
    local answer = write(batch, args, head[4])
    if #ends > 0 then
      for i, tag in ipairs(tags) do
        for k, lane in ipairs(lanes) do
          if ends[2 * k] > (guards[i][lane] or '') then call('HSET', key(tag, 'e'), lane, ends[2 * k]) end
        end
      end
    end
    return answer
  end)
  if ok then
    for _, owner in ipairs(owners) do
      local base, length = size_of(owner)
      insert(answer, owner)
      insert(answer, base + length)
    end
    return answer
  end
  for _, tag in ipairs(tags) do call('DEL', key(tag, 'e')) end
  local cause = type(answer) == 'table' and answer.err or tostring(answer)
  redis.log(redis.LOG_WARNING, 'planb_hot: half a batch was written, its slots are withdrawn: ' .. cause)
  return fail('EPOCHLOST', 'half a batch was written: ' .. cause)
end)

-- Epochs. A node is emptied and marked, slot by slot; what belongs to all stands in the slot of {dc}.

register('pb_digest', { 'no-writes' }, function(args) return args[1] == DIGEST and 1 or 0 end)

register('pb_foreign_at', { 'no-writes' }, function() return foreign(20000) end)

-- begin(epoch, tags of all its slots)
register('pb_begin_at', { 'allow-cross-slot-keys', 'allow-oom' }, function(args)
  local tags = unpack_message(args[2])
  look(tags)
  call('FLUSHDB', 'ASYNC')
  for _, tag in ipairs(tags) do call('HSET', key(tag, 'e'), 'epoch', args[1]) end
  return 1
end)

-- What one server has beside the lists: of META all, then FRONTIER and FLOOR.
register('pb_home', { 'no-writes' }, function()
  return { call('HGETALL', META), call('HGETALL', FRONTIER), call('HGETALL', FLOOR) }
end)

-- home_begin(epoch, field, value, ...)
register('pb_home_begin', { 'allow-oom' }, function(args)
  look { HOME }
  for _, name in ipairs { META, FRONTIER, FLOOR } do call('DEL', name) end
  call('HSET', META, 'building', args[1], unpack(args, 2))
  return 1
end)

local function of_epoch(epoch)
  local found = call('HMGET', META, 'epoch', 'building')
  return found[1] == epoch or found[2] == epoch
end

-- home_publish(epoch, {frontier, floor}): repeatable.
register('pb_home_publish', { 'allow-oom' }, function(args)
  look { HOME }
  if call('HGET', META, 'epoch') == args[1] then return 1 end
  if not of_epoch(args[1]) then return lost() end
  local data = unpack_message(args[2])
  if #data[1] > 0 then call('HSET', FRONTIER, unpack(data[1])) end
  if #data[2] > 0 then call('HSET', FLOOR, unpack(data[2])) end
  call('HSET', META, 'epoch', args[1])
  call('HDEL', META, 'building')
  return 1
end)

-- home_admit(epoch, process): it may serve this epoch from now on.
register('pb_home_admit', { 'allow-oom' }, function(args)
  if not of_epoch(args[1]) then return lost() end
  return call('HSET', META, process(args[2]), 1)
end)

register('pb_home_withdraw', { 'allow-oom' }, function(args)
  if of_epoch(args[1]) then call('HDEL', META, 'epoch', 'building') end
  return 1
end)

-- home_move(epoch, moves)
register('pb_home_move', {}, function(args)
  if not of_epoch(args[1]) then return lost() end
  local moves = unpack_message(args[2])
  if stale(moves) then return { 'stale', call('HGETALL', FRONTIER) } end
  for i = 1, #moves, 3 do call('HSET', FRONTIER, moves[i], moves[i + 2]) end
  return 1
end)
