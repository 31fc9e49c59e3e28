#!lua name=planb_hot_@layout@
-- Hot state in one server; planb_hot_cluster.lua, loaded behind it on a cluster, has the same for one node of many. Each
-- function is atomic; what they promise is in stores/ports.py (HotStore), what they keep is in docs/hot-state.md.
--
-- An id is 63 bits and a Lua number is a double, so ids are 19-digit zero-padded strings: string order is number order.
-- A lane is 5 digits. Scores are `id >> 24`, with the full id beside them.
-- Functions do not roll back: `apply` checks everything before its first write, and should a write fail all the
-- same, it withdraws the epoch, so that nobody serves what is half written.

-- When it changes: docs/hot-state.md. It is in the names of the library, of each function and of META.
local LAYOUT = '3'
local DIGEST = '@digest@'
-- Only `redis.register_function` exists while a library is loaded; the first call binds the rest.
local call, sub, byte, char, format, concat, insert, remove, sort
local ipairs, pairs, tonumber, type, unpack, min, max, floor, unpack_message
local function bind()
  call, sub, byte, char, format = redis.call, string.sub, string.byte, string.char, string.format
  concat, insert, remove, sort = table.concat, table.insert, table.remove, table.sort
  min, max, floor = math.min, math.max, math.floor
  ipairs, pairs, tonumber, type, unpack = _G.ipairs, _G.pairs, _G.tonumber, _G.type, _G.unpack
  unpack_message = cmsgpack.unpack
end
local ZERO = '0000000000000000000'
local CHUNK = 1000 -- arguments of one call: Lua's stack ends at 8,000
local SCAN = 200 -- updates looked at in one step
local SYSTEM = 'sys' -- the actor that is the customer's own system
local RENEWED = 16 -- results of one actor after which their list is to live as long as they do
local STEP = 32 -- messages of a window looked at in one step: mostly few are unread

-- Keys. Hash tags keep together what one call per slot needs on a cluster.
local META = 'pb:{dc}:meta:' .. LAYOUT -- run, epoch (published), building, and BOUNDS
local FRONTIER = 'pb:{dc}:frontier' -- lane -> id:seq
local FLOOR = 'pb:{dc}:floor' -- lane -> id: what every list counts as trimmed
local function key(tag, kind) return 'pb:{' .. tag .. '}:' .. kind end
local function key2(tag, kind, rest) return 'pb:{' .. tag .. '}:' .. kind .. ':' .. rest end
-- {owner}:l  list of updates           {owner}:b  base, lane -> greatest trimmed
-- {user}:d   dialogs by score          {owner}:t  conversation -> place: top, and per lane the newest delivered
-- {conversation}:n new messages   :r window   :w its book   :k its classes   :x recalled
-- {conversation}:m:<user> read marks   :h:<user> hidden: beside the window, for all of them are needed to count
-- {supergroup}:c top        {actor}:q:<key> result   {actor}:o the keys of these
-- {user}:p presence        {table/key}:x stamps

local function register(name, flags, body)
  redis.register_function {
    function_name = name .. '_' .. LAYOUT,
    flags = flags,
    callback = function(_, args)
      if not call then bind() end
      return body(args)
    end,
  }
end

local function fail(code, text) return redis.error_reply(code .. ' ' .. text) end
local function lost() return fail('EPOCHLOST', 'no epoch is published here') end

-- The lane of an id, exactly: 65536 divides 10^16, and both halves fit a double.
local function lane_of(id)
  local high, low = tonumber(sub(id, 4, 11)), tonumber(sub(id, 12, 19))
  return format('%05d', (high % 65536 * 57600 + low) % 65536)
end

-- `id >> 24`, exactly: 10^8 is 2^8 * 390625.
local function score_of(id)
  local high, low = tonumber(sub(id, 1, 11)), tonumber(sub(id, 12, 19))
  local rest = high % 65536
  return (high - rest) / 65536 * 390625 + floor((rest * 390625 + floor(low / 256)) / 65536)
end

local function pairs_of(flat)
  local map = {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end

local function raise(name, field, id)
  local old = call('HGET', name, field)
  if not old or old < id then call('HSET', name, field, id) end
end

local function published() return call('HEXISTS', META, 'epoch') == 1 end

-- Updates. An element: event id 19, flag f(ed) or b(ack-fed), lane 5, length of the conversation, conversation (only for
-- a message, whose id is the event's), entry. Most of what follows from an owner's updates is not written with them but
-- drawn from the list later, for many at once: whenever `waiting` more are in it, when it is trimmed, or when somebody
-- looks. `{owner}:t` says under '' up to which pts that was done.

local function size_of(owner)
  local base = tonumber(call('HGET', key(owner, 'b'), 'base') or 0)
  return base, call('LLEN', key(owner, 'l'))
end

local function trim(owner, excess)
  local name, greatest = key(owner, 'b'), {}
  for _, element in ipairs(call('LPOP', key(owner, 'l'), excess)) do
    local id, lane = sub(element, 1, 19), sub(element, 21, 25)
    if id > (greatest[lane] or ZERO) then greatest[lane] = id end
  end
  for lane, id in pairs(greatest) do raise(name, lane, id) end
  return call('HINCRBY', name, 'base', excess)
end

-- A place: top 19, then per lane: lane 5, the greatest message id delivered to this owner 19, its pts 10. It answers
-- most of `seen` without looking through the list, and outlives trimming.

local function place_in(places, conversation)
  local place = places[conversation]
  if not place then
    place = { top = ZERO, lanes = {} }
    places[conversation] = place
  end
  return place
end

-- `old` and `new` are 'id pts'; a greater id wins.
local function later(old, new) return not old or sub(old, 1, 19) < sub(new, 1, 19) end

-- What `old` and a place amount to.
local function merged(old, place)
  local top, lanes, tail = sub(old, 1, 19), place.lanes, {}
  if place.top > top then top = place.top end
  for at = 20, #old, 34 do
    local lane, value = sub(old, at, at + 4), sub(old, at + 5, at + 33)
    local new = lanes[lane]
    if new then
      if later(value, new) then value = new end
      lanes[lane] = nil
    end
    insert(tail, lane)
    insert(tail, value)
  end
  for lane, value in pairs(lanes) do
    insert(tail, lane)
    insert(tail, value)
  end
  return top .. concat(tail)
end

-- Writes places of an owner: conversation -> place.
local function settle(owner, places)
  local names = {}
  for conversation in pairs(places) do insert(names, conversation) end
  for from = 1, #names, CHUNK do
    local part = { unpack(names, from, min(from + CHUNK - 1, #names)) }
    local fields, scores = {}, {}
    for i, old in ipairs(call('HMGET', key(owner, 't'), unpack(part))) do
      local conversation = part[i]
      local new = merged(old or ZERO, places[conversation])
      if new ~= old then
        insert(fields, conversation)
        insert(fields, new)
      end
      local top = sub(new, 1, 19)
      if top > sub(old or ZERO, 1, 19) then
        insert(scores, score_of(top))
        insert(scores, conversation)
      end
    end
    if #fields > 0 then call('HSET', key(owner, 't'), unpack(fields)) end
    if #scores > 0 then call('ZADD', key(owner, 'd'), unpack(scores)) end
  end
end

-- The greatest message of each lane and conversation among elements, of which the first has pts `pts`: place -> id, pts.
local function note(ids, at, elements, pts)
  for i = #elements, 1, -1 do -- mostly the last one is the greatest
    local element = elements[i]
    local length = byte(element, 26)
    if length > 0 then
      local place, id = sub(element, 21, 26 + length), sub(element, 1, 19)
      if id >= (ids[place] or '') then
        ids[place], at[place] = id, pts + i - 1
      end
    end
  end
end

-- Draws what follows from the updates that were not looked at yet.
local function catch_up(owner, base, length)
  local done = max(base, tonumber(call('HGET', key(owner, 't'), '') or 0))
  if done >= base + length then return end
  local ids, at, places = {}, {}, {}
  for first = done - base, length - 1, SCAN do
    note(ids, at, call('LRANGE', key(owner, 'l'), first, first + SCAN - 1), base + first + 1)
  end
  for place, id in pairs(ids) do
    local known = place_in(places, sub(place, 7))
    if id > known.top then known.top = id end
    known.lanes[sub(place, 1, 5)] = id .. format('%010d', at[place])
  end
  settle(owner, places)
  call('HSET', key(owner, 't'), '', base + length)
end

-- Appends and returns the new pts. A list of more than `kept` is cut to `least`.
local function append(owner, elements, kept, least, waiting)
  local name, length, base = key(owner, 'l'), 0, 0
  for i = 1, #elements, CHUNK do
    length = call('RPUSH', name, unpack(elements, i, min(i + CHUNK - 1, #elements)))
  end
  local before = length - #elements
  if before >= least then -- a list that was ever trimmed is at least so long
    base = tonumber(call('HGET', key(owner, 'b'), 'base') or 0)
  end
  if length > kept or floor((base + length) / waiting) > floor((base + before) / waiting) then
    catch_up(owner, base, length)
  end
  if length > kept then trim(owner, length - least) end
  return base + length
end

-- Which of the wanted events (id -> lane) the owner's list holds. Read backwards: when an event was back-fed, all smaller
-- ones of its lane had been fed already, so neither it nor its back-fed copy stands before a fed update with a smaller id.
local function held(owner, wanted)
  local smallest, left, greatest = {}, 0, ZERO
  for id, lane in pairs(wanted) do
    if not smallest[lane] then left = left + 1 end
    if not smallest[lane] or id < smallest[lane] then smallest[lane] = id end
    if id > greatest then greatest = id end
  end
  local found, name = {}, key(owner, 'l')
  local last = call('LLEN', name) - 1
  while left > 0 and last >= 0 do
    local first = max(0, last - SCAN + 1)
    local elements = call('LRANGE', name, first, last)
    for i = #elements, 1, -1 do
      local id = sub(elements[i], 1, 19)
      if wanted[id] then
        found[id] = true
      elseif id < greatest and sub(elements[i], 20, 20) == 'f' then
        local lane = sub(elements[i], 21, 25)
        if smallest[lane] and id < smallest[lane] then
          smallest[lane] = nil
          left = left - 1
          if left == 0 then break end
        end
      end
    end
    last = first - 1
  end
  return found
end

-- The window of recent messages. A member: id 19, lane 5, class 16 hex digits, sender. It is always the newest `kept` of
-- all that were ever added, in whatever order they came, and in the order of their ids. The book of a window: whether a
-- class may have two ids in it, then per lane n(ewest id added) or t(rimmed): kind 1, lane 5, id 19. Beside them, the set
-- of the classes that are in the window. New messages wait in a list of their own until `waiting` of them are there, or
-- somebody counts.

local function read_book(text)
  local newest, trimmed = {}, {}
  for at = 2, #(text or ''), 25 do
    local lanes = byte(text, at) == 110 and newest or trimmed
    lanes[sub(text, at + 1, at + 5)] = sub(text, at + 6, at + 24)
  end
  return newest, trimmed, text and sub(text, 1, 1) == '1'
end

local function book_text(newest, trimmed, aliases)
  local parts = { aliases and '1' or '0' }
  for lane, id in pairs(newest) do insert(parts, 'n' .. lane .. id) end
  for lane, id in pairs(trimmed) do insert(parts, 't' .. lane .. id) end
  return concat(parts)
end

local function raise_in(lanes, lane, id)
  if id > (lanes[lane] or '') then lanes[lane] = id end
end

-- class -> its ids in the window, and whether any class has two.
local function classes_of(window)
  local ids, twice = {}, false
  for _, member in ipairs(call('LRANGE', window, 0, -1)) do
    local class = sub(member, 25, 40)
    if ids[class] then
      insert(ids[class], sub(member, 1, 19))
      twice = true
    else
      ids[class] = { sub(member, 1, 19) }
    end
  end
  return ids, twice
end

-- The members of the window with an id beyond `low`, the newest first.
local function beyond(window, low)
  local found, last = {}, -1
  repeat
    local members = call('LRANGE', window, last - STEP + 1, last)
    for i = #members, 1, -1 do
      if sub(members[i], 1, 19) <= low then return found end
      insert(found, members[i])
    end
    last = last - STEP
  until #members < STEP
  return found
end

-- Puts members, in order, where they belong; those that are there already are taken out of `members`. Returns the new
-- length. What comes late goes in front of what is newer, which is little: it was written at about the same time.
local function put(window, members, greatest)
  if sub(members[1], 1, 19) > greatest then return call('RPUSH', window, unpack(members)) end
  local newer = beyond(window, sub(members[1], 1, 19))
  local same, all = {}, {}
  for _, member in ipairs(newer) do same[member] = true end
  local before = call('LINDEX', window, -#newer - 1)
  if before then same[before] = true end
  for i = #members, 1, -1 do
    if same[members[i]] then remove(members, i) end
  end
  if #members == 0 then return 0 end
  if #newer > 0 then call('RPOP', window, #newer) end
  for _, member in ipairs(newer) do insert(all, member) end
  for _, member in ipairs(members) do insert(all, member) end
  sort(all)
  local length = 0
  for i = 1, #all, CHUNK do
    length = call('RPUSH', window, unpack(all, i, min(i + CHUNK - 1, #all)))
  end
  return length
end

local function remember(conversation, members, kept)
  local window, book, classes = key(conversation, 'r'), key(conversation, 'w'), key(conversation, 'k')
  local newest, trimmed, aliases = read_book(call('GET', book))
  if #members > 1 then
    sort(members)
    for i = #members, 2, -1 do
      if members[i] == members[i - 1] then remove(members, i) end
    end
  end
  local greatest = ''
  for _, id in pairs(newest) do greatest = id > greatest and id or greatest end
  local length = put(window, members, greatest)
  if #members == 0 then return end
  local added = {}
  for i, member in ipairs(members) do
    added[i] = sub(member, 25, 40)
    raise_in(newest, sub(member, 20, 24), sub(member, 1, 19))
  end
  if call('SADD', classes, unpack(added)) < #added then aliases = true end
  if length > kept then
    local gone = call('LPOP', window, length - kept)
    local left = {}
    if aliases then left, aliases = classes_of(window) end
    for _, member in ipairs(gone) do
      raise_in(trimmed, sub(member, 20, 24), sub(member, 1, 19))
      if not left[sub(member, 25, 40)] then call('SREM', classes, sub(member, 25, 40)) end
    end
  end
  call('SET', book, book_text(newest, trimmed, aliases))
end

-- Brings the new messages into the window.
local function gather(conversation, kept)
  local name = key(conversation, 'n')
  local members = call('LRANGE', name, 0, -1)
  if #members == 0 then return end
  for from = 1, #members, CHUNK do
    remember(conversation, { unpack(members, from, min(from + CHUNK - 1, #members)) }, kept)
  end
  call('DEL', name)
end

local function raise_floor(conversation, lane, id)
  local book = key(conversation, 'w')
  local newest, trimmed, aliases = read_book(call('GET', book))
  raise_in(trimmed, lane, id)
  call('SET', book, book_text(newest, trimmed, aliases))
end

local function keep_newest(name, id, kept)
  call('ZADD', name, 0, id)
  local excess = call('ZCARD', name) - kept
  if excess > 0 then call('ZPOPMIN', name, excess) end
end

-- Results. Beside them, per actor the event id and key of his newest ones, the oldest first. The list outlives all results
-- but the last RENEWED ones, so that none of the others is beyond its bound because nobody counts it any more. A key that
-- was used again after its result expired stands there twice, and only its last place is its result's: an element takes
-- along what is not of a later event than its own. (A result may have given way to an earlier event's.)

local function forget_results(actor, count)
  local elements = call('LPOP', key(actor, 'o'), count)
  for i = 1, #elements, CHUNK do
    local names, gone = {}, {}
    for j = i, min(i + CHUNK - 1, #elements) do insert(names, key2(actor, 'q', sub(elements[j], 20))) end
    for j, value in ipairs(call('MGET', unpack(names))) do
      if value and sub(value, 1, 19) <= sub(elements[i + j - 1], 1, 19) then insert(gone, names[j]) end
    end
    if #gone > 0 then call('DEL', unpack(gone)) end
  end
end

local function keep_result(actor, name, value, bounds)
  local result = key2(actor, 'q', name)
  local old = call('SET', result, value, 'EX', bounds.result_s, 'NX', 'GET')
  if not old then
    local order = key(actor, 'o')
    local length = call('RPUSH', order, sub(value, 1, 19) .. name)
    local kept = actor == SYSTEM and bounds.system_results or bounds.results
    if length > kept + floor(kept / bounds.trim_share) then
      forget_results(actor, length - kept)
      length = 1
    end
    if length % RENEWED == 1 then call('EXPIRE', order, bounds.result_s) end
  elseif sub(value, 1, 19) < sub(old, 1, 19) then
    call('SET', result, value, 'EX', bounds.result_s)
  end
end

-- apply(payload, updates...): see hot_wire.py for the layout. args[at + 1] is update `at`.

local STRIDES = { 3, 2, 2, 3, 2, 2, 2, 3, 4, 3, 3 }
local STRINGS = {
  { 1, 2, 3 }, { 1 }, { 1 }, { 1, 2, 3 }, { 1, 2 }, { 1 }, { 1, 2 }, { 1, 2, 3 }, { 1, 2, 3, 4 }, { 1, 2, 3 }, { 1, 2, 3 },
}

local function malformed(batch, count)
  if type(batch) ~= 'table' or type(batch[1]) ~= 'string' then return 'head' end
  for section = 1, #STRIDES do
    local flat, stride = batch[section + 1], STRIDES[section]
    if type(flat) ~= 'table' or #flat % stride ~= 0 then return 'section ' .. section end
    for _, field in ipairs(STRINGS[section]) do
      for i = field, #flat, stride do
        if type(flat[i]) ~= 'string' then return 'section ' .. section .. ' field ' .. field end
      end
    end
  end
  for section = 3, 4 do
    for i = 2, #batch[section], 2 do
      if type(batch[section][i]) ~= 'table' then return 'feed' end
      for _, at in ipairs(batch[section][i]) do
        if type(at) ~= 'number' or at < 1 or at > count then return 'feed entry' end
      end
    end
  end
  for i = 2, #batch[7], 2 do
    if type(batch[7][i]) ~= 'table' then return 'recent' end
  end
end

local function stale(moves)
  if #moves == 0 then return false end
  for i = 1, #moves, 3 do
    local at = call('HGET', FRONTIER, moves[i])
    if (at and sub(at, 21) or '0') ~= moves[i + 1] then return true end
  end
  return false
end

-- feeds: owner, places of his updates in args, owner, ...
local function feed(args, feeds, bounds, answer)
  for i = 1, #feeds, 2 do
    local elements = {}
    for k, at in ipairs(feeds[i + 1]) do elements[k] = args[at + 1] end
    insert(answer, feeds[i])
    insert(answer, append(feeds[i], elements, bounds.updates, bounds.updates_least, bounds.waiting))
  end
end

-- The same, without what the owner's list holds already.
local function back_feed(args, feeds, bounds, answer)
  for i = 1, #feeds, 2 do
    local owner, elements, taken, wanted = feeds[i], {}, {}, {}
    for _, at in ipairs(feeds[i + 1]) do wanted[sub(args[at + 1], 1, 19)] = sub(args[at + 1], 21, 25) end
    local found = held(owner, wanted)
    for _, at in ipairs(feeds[i + 1]) do
      local element = args[at + 1]
      if not (found[sub(element, 1, 19)] or taken[element]) then
        taken[element] = true
        insert(elements, sub(element, 1, 19) .. 'b' .. sub(element, 21))
      end
    end
    if #elements > 0 then
      insert(answer, owner)
      insert(answer, append(owner, elements, bounds.updates, bounds.updates_least, bounds.waiting))
    end
  end
end

local function raise_tops(flat)
  local owners = {}
  for i = 1, #flat, 3 do
    local places = owners[flat[i]] or {}
    owners[flat[i]] = places
    place_in(places, flat[i + 1]).top = flat[i + 2]
  end
  for owner, places in pairs(owners) do settle(owner, places) end
end

local function add_recents(flat, bounds)
  for i = 1, #flat, 2 do
    local members, length = flat[i + 1], 0
    for from = 1, #members, CHUNK do
      length = call('RPUSH', key(flat[i], 'n'), unpack(members, from, min(from + CHUNK - 1, #members)))
    end
    if length >= bounds.waiting then gather(flat[i], bounds.recent) end
  end
end

local function write(batch, args, bounds)
  local answer = {}
  feed(args, batch[3], bounds, answer)
  back_feed(args, batch[4], bounds, answer)
  raise_tops(batch[5])
  local flat = batch[6]
  for i = 1, #flat, 2 do
    local old = call('GET', key(flat[i], 'c'))
    if not old or old < flat[i + 1] then call('SET', key(flat[i], 'c'), flat[i + 1]) end
  end
  add_recents(batch[7], bounds)
  flat = batch[8]
  for i = 1, #flat, 2 do keep_newest(key(flat[i], 'x'), flat[i + 1], bounds.ids) end
  flat = batch[9]
  for i = 1, #flat, 3 do keep_newest(key2(flat[i + 1], 'h', flat[i]), flat[i + 2], bounds.ids) end
  flat = batch[10]
  for i = 1, #flat, 4 do raise(key2(flat[i + 1], 'm', flat[i]), flat[i + 2], flat[i + 3]) end
  flat = batch[11]
  for i = 1, #flat, 3 do keep_result(flat[i], flat[i + 1], flat[i + 2], bounds) end
  flat = batch[12]
  for i = 1, #flat, 3 do raise_floor(flat[i], flat[i + 1], flat[i + 2]) end
  flat = batch[2]
  for i = 1, #flat, 3 do call('HSET', FRONTIER, flat[i], flat[i + 2]) end
  return answer
end

-- What an epoch was begun with.
local BOUNDS = {
  'updates', 'updates_least', 'recent', 'ids', 'waiting', 'result_s', 'results', 'system_results', 'trim_share',
}
local function epoch_and_bounds()
  local found = call('HMGET', META, 'epoch', 'building', unpack(BOUNDS))
  local bounds = {}
  for i, name in ipairs(BOUNDS) do bounds[name] = tonumber(found[i + 2]) end
  return found[1], found[2], bounds
end

register('pb_apply', {}, function(args)
  local batch = unpack_message(args[1])
  local wrong = malformed(batch, #args - 1)
  if wrong then return fail('MALFORMED', wrong) end
  local epoch, building, bounds = epoch_and_bounds()
  if epoch ~= batch[1] and building ~= batch[1] then return lost() end
  if stale(batch[2]) then return { 'stale', call('HGETALL', FRONTIER) } end
  local ok, answer = pcall(write, batch, args, bounds)
  if ok then return answer end
  call('HDEL', META, 'epoch', 'building')
  local cause = type(answer) == 'table' and answer.err or tostring(answer)
  redis.log(redis.LOG_WARNING, 'planb_hot: half a batch was written, the epoch is withdrawn: ' .. cause)
  return fail('EPOCHLOST', 'half a batch was written: ' .. cause)
end)

-- Epochs

-- What a server does that is full already must not need room: whoever comes has to be able to read, and to begin anew.

-- open(digest, run id): 1 if this library is the wanted one. Withdraws an epoch that another server process began (a
-- restarted or promoted server may have lost or reordered updates), and one that was begun without all of BOUNDS.
register('pb_open', { 'allow-oom' }, function(args)
  local found = call('HMGET', META, 'run', unpack(BOUNDS))
  local whole = found[1] == args[2]
  for i = 1, #BOUNDS do whole = whole and found[i + 1] end
  if not whole then call('HDEL', META, 'epoch', 'building', 'run') end
  return args[1] == DIGEST and 1 or 0
end)

-- A key here that is not ours, as far as a look at so many tells.
local function foreign(count)
  for _, name in ipairs(call('SCAN', '0', 'COUNT', count)[2]) do
    if sub(name, 1, 3) ~= 'pb:' then return name end
  end
end

-- begin(epoch, field, value, ...): empties this database, after a look at whether it is ours.
register('pb_begin', { 'allow-oom' }, function(args)
  local name = foreign(1000)
  if name then return fail('FOREIGN', name) end
  call('FLUSHDB', 'ASYNC')
  call('HSET', META, 'building', args[1], unpack(args, 2))
  return 1
end)

-- publish(epoch, {frontier, floor}): both flat, lane then value.
register('pb_publish', { 'allow-oom' }, function(args)
  local epochs = call('HMGET', META, 'epoch', 'building')
  if epochs[1] == args[1] then return 1 end
  if epochs[2] ~= args[1] then return lost() end
  local data = unpack_message(args[2])
  if #data[1] > 0 then call('HSET', FRONTIER, unpack(data[1])) end
  if #data[2] > 0 then call('HSET', FLOOR, unpack(data[2])) end
  call('HSET', META, 'epoch', args[1])
  call('HDEL', META, 'building')
  return 1
end)

-- What a reader has to know of its epoch stands beside the lists; on a cluster its caller says it.
local here = {
  floor = function() return pairs_of(call('HGETALL', FLOOR)) end,
  recent = function() return tonumber(call('HGET', META, 'recent')) end,
}

local readers = {}

local function served(name, flags, body)
  readers[name] = body
  register(name, flags, function(args)
    if not published() then return lost() end
    return body(args, here)
  end)
end

local function reader(name, body) served(name, { 'no-writes' }, body) end

-- Draws what was put off before it reads; a full server still answers.
local function late_reader(name, body) served(name, { 'allow-oom' }, body) end

register('pb_epoch', { 'no-writes' }, function() return call('HGET', META, 'epoch') end)

reader('pb_frontier', function() return call('HGETALL', FRONTIER) end)

reader('pb_updates', function(args)
  local owner, after, limit = args[1], tonumber(args[2]), tonumber(args[3])
  local base, length = size_of(owner)
  local skip = min(max(after - base, 0), length)
  local elements = {}
  if limit > 0 then elements = call('LRANGE', key(owner, 'l'), skip, skip + limit - 1) end
  return { base + skip + 1, base + length, elements }
end)

local function trimmed(owner, given)
  local map = given.floor()
  local own = call('HGETALL', key(owner, 'b'))
  for i = 1, #own, 2 do
    if own[i] ~= 'base' and own[i + 1] > (map[own[i]] or ZERO) then map[own[i]] = own[i + 1] end
  end
  return map
end

local function flat_of(map)
  local flat = {}
  for field, value in pairs(map) do
    insert(flat, field)
    insert(flat, value)
  end
  return flat
end

reader('pb_trimmed', function(args, given) return flat_of(trimmed(args[1], given)) end)

reader('pb_pts', function(args)
  local answer = {}
  for i, owner in ipairs(args) do
    local base, length = size_of(owner)
    answer[i] = base + length
  end
  return answer
end)

-- seen(owner, conversation, message, pts): the place answers for every lane whose newest is within; for the others
-- the list is read backwards. In a list, ids of one lane grow, save for what was back-fed.
late_reader('pb_seen', function(args, given)
  local owner, conversation, message, pts = args[1], args[2], args[3], tonumber(args[4])
  local base, length = size_of(owner)
  catch_up(owner, base, length)
  local found, open, left = {}, {}, 0
  local place = call('HGET', key(owner, 't'), conversation) or ZERO
  for at = 20, #place, 34 do
    local lane, id = sub(place, at, at + 4), sub(place, at + 5, at + 23)
    if id <= message and tonumber(sub(place, at + 24, at + 33)) <= pts then
      found[lane] = id
    else
      open[lane] = true
      left = left + 1
    end
  end
  local last = min(pts - base, length) - 1
  local head = char(#conversation) .. conversation
  local head_end = 25 + #head
  while left > 0 and last >= 0 do
    local first = max(0, last - SCAN + 1)
    local elements = call('LRANGE', key(owner, 'l'), first, last)
    for i = #elements, 1, -1 do
      local element = elements[i]
      local id = sub(element, 1, 19)
      if id <= message and sub(element, 26, head_end) == head then
        local lane = sub(element, 21, 25)
        if open[lane] then
          if id > (found[lane] or ZERO) then found[lane] = id end
          if sub(element, 20, 20) == 'f' then
            open[lane] = nil
            left = left - 1
          end
        end
      end
    end
    last = first - 1
  end
  if pts >= base then
    for lane, id in pairs(trimmed(owner, given)) do
      if id > message then id = message end
      if id > (found[lane] or ZERO) then found[lane] = id end
    end
  end
  return flat_of(found)
end)

-- Dialogs

local function top_of(user, conversation)
  local top = sub(call('HGET', key(user, 't'), conversation) or ZERO, 1, 19)
  return top > ZERO and top or call('GET', key(conversation, 'c')) or ZERO
end

late_reader('pb_tops', function(args)
  catch_up(args[1], size_of(args[1]))
  local answer = {}
  for i = 2, #args do answer[i - 1] = top_of(args[1], args[i]) end
  return answer
end)

local function newer(a, b)
  if a[2] ~= b[2] then return a[2] > b[2] end
  return a[1] < b[1]
end

-- dialogs(user, limit, after score, after top, after conversation, number of pinned, pinned..., channels...); without
-- `after` its top is ''.
late_reader('pb_dialogs', function(args)
  local user, limit, pinned_count = args[1], tonumber(args[2]), tonumber(args[6])
  catch_up(user, size_of(user))
  local after = args[4] ~= '' and { args[5], args[4] }
  local out, known, found = {}, {}, {}
  for i = 7, 6 + pinned_count do out[args[i]] = true end
  local index, tops = key(user, 'd'), key(user, 't')
  local function consider(conversation, top)
    if top and not out[conversation] and not known[conversation] then
      known[conversation] = true
      local candidate = { conversation, top }
      if not after or newer(after, candidate) then insert(found, candidate) end
    end
  end
  for i = 7 + pinned_count, #args do consider(args[i], call('GET', key(args[i], 'c'))) end
  local channels = #found
  local highest, step, offset = after and args[3] or '+inf', limit + pinned_count + 1, 0
  while #found - channels < limit do
    local page = call('ZREVRANGEBYSCORE', index, highest, '-inf', 'WITHSCORES', 'LIMIT', offset, step)
    if #page == 0 then break end
    local names = {}
    for i = 1, #page, 2 do insert(names, page[i]) end
    -- Equal scores are one 10 ms unit: all of them belong to this page, or the order of full ids would break.
    if #names == step then
      for _, name in ipairs(call('ZRANGEBYSCORE', index, page[#page], page[#page])) do insert(names, name) end
    end
    for i = 1, #names, CHUNK do
      local part = { unpack(names, i, min(i + CHUNK - 1, #names)) }
      local ids = call('HMGET', tops, unpack(part))
      for j, name in ipairs(part) do consider(name, ids[j] and sub(ids[j], 1, 19)) end
    end
    offset = offset + step
  end
  sort(found, newer)
  local answer = {}
  for i = 1, min(limit, #found) do
    insert(answer, found[i][1])
    insert(answer, found[i][2])
  end
  return answer
end)

-- An id is done with if it is at or below the read mark of its lane or the joining, hidden, or recalled. A class counts
-- unless any of its ids in the window is done with.
local function unread(user, conversation, joined)
  local text = call('GET', key(conversation, 'w'))
  if not text then return 0, 0 end
  local newest, trimmed, aliases = read_book(text)
  local marks = pairs_of(call('HGETALL', key2(conversation, 'm', user)))
  local function mark_of(lane)
    local mark = marks[lane]
    return mark and mark > joined and mark or joined
  end
  local low, more
  for lane, id in pairs(newest) do
    local mark = mark_of(lane)
    if id > mark and (not low or mark < low) then low = mark end
  end
  for lane, id in pairs(trimmed) do
    if id > mark_of(lane) then more = 1 end
  end
  if not low then return 0, more or 0 end
  local hidden, recalled, done = key2(conversation, 'h', user), key(conversation, 'x'), {}
  for _, name in ipairs { hidden, recalled } do
    -- An id below `low` is read: whether it is hidden or recalled as well changes nothing.
    for _, id in ipairs(call('ZRANGEBYLEX', name, '[' .. low, '+')) do done[id] = true end
  end
  local window, count, counted = key(conversation, 'r'), 0, {}
  local ids = aliases and classes_of(window)
  for _, member in ipairs(beyond(window, low)) do
    local id = sub(member, 1, 19)
    if id > mark_of(sub(member, 20, 24)) and not done[id] and sub(member, 41) ~= user then
      if not aliases then
        count = count + 1
      else
        local class = sub(member, 25, 40)
        if counted[class] == nil then
          local counts = 1
          for _, other in ipairs(ids[class]) do
            if done[other] or other <= mark_of(lane_of(other)) then counts = 0 end
          end
          counted[class] = counts
          count = count + counts
        end
      end
    end
  end
  return count, more or 0
end

late_reader('pb_unread', function(args, given)
  local answer, kept = {}, given.recent()
  for i = 2, #args, 2 do
    gather(args[i], kept)
    local count, more = unread(args[1], args[i], args[i + 1])
    insert(answer, count)
    insert(answer, more)
  end
  return answer
end)

-- results(actor, key, ...): nil for a key that is not known.
reader('pb_results', function(args)
  local answer = {}
  for from = 1, #args, 2 * CHUNK do
    local names = {}
    for i = from, min(from + 2 * CHUNK - 1, #args), 2 do insert(names, key2(args[i], 'q', args[i + 1])) end
    for _, value in ipairs(call('MGET', unpack(names))) do insert(answer, value) end
  end
  return answer
end)

-- Metadata of last-writer-wins columns: decide(kept seconds, (table/key, column, stamp)...). 1 = lost.
local function decide(args)
  local answer, names = {}, {}
  for i = 2, #args, 3 do
    local name = key(args[i], 'x')
    local old = call('HGET', name, args[i + 1])
    if old and old > args[i + 2] then
      insert(answer, 1)
    else
      insert(answer, 0)
      if old ~= args[i + 2] then call('HSET', name, args[i + 1], args[i + 2]) end
    end
    names[name] = true
  end
  for name in pairs(names) do call('EXPIRE', name, args[1]) end
  return answer
end
register('pb_decide', {}, decide)

-- Presence, by this server's clock. Independent of the epoch: leases are renewed anyway.

local function now_s() return tonumber(call('TIME')[1]) end

register('pb_present', { 'allow-oom' }, function(args)
  local name, ttl, now = key(args[1], 'p'), tonumber(args[3]), now_s()
  call('ZREMRANGEBYSCORE', name, '-inf', now)
  if ttl > 0 then
    call('ZADD', name, now + ttl, args[2])
    local last = call('ZREVRANGE', name, 0, 0, 'WITHSCORES')
    call('EXPIRE', name, tonumber(last[2]) - now + 1)
  else
    call('ZREM', name, args[2])
  end
  return 1
end)

local function online(args)
  local answer, now = {}, now_s()
  for i, user in ipairs(args) do
    answer[i] = call('ZCOUNT', key(user, 'p'), '(' .. now, '+inf') > 0 and 1 or 0
  end
  return answer
end
register('pb_online', { 'no-writes' }, online)
