#!lua name=planb_log_3
-- The writes of the event log's Valkey adapter. A lane is a stream whose entries have the ids `seq-0`; its end is in the
-- hash of tops as `seq|id|hash`; who ever opened it is in a list, the present owner first.
--
-- Functions don't roll back: everything is checked before the first write, so each call writes all or nothing.
-- Seqs are counted from 1 and stay far below 2^53, so they may be Lua numbers. Ids have 63 bits: they are only ever
-- strings here. Runs on Redis 7.0 too. A change of behaviour takes a new number in all names, because processes of two
-- versions share the server during an upgrade.

-- How many former owners of a lane are remembered.
local OWNERS_KEPT = 1000
-- Stands where the owner would: the lane belongs to an earlier incarnation and has no writer any more.
local RETIRED = ''

local function number(seq)
  return string.format('%d', seq)
end

local function top_seq(tops, lane)
  local top = redis.call('HGET', tops, lane)
  if not top then
    return 0, nil
  end
  local seq, hash = string.match(top, '^(%d+)|%d+|(%x+)$')
  return tonumber(seq), hash
end

-- Says why records first..last, in args from `at` on, neither continue nor repeat the lane; nil when they do.
-- `top` is the end of the lane that they would make.
local function refusal(tops, stream, lane, first, last, top, args, at)
  local have, hash = top_seq(tops, lane)
  if first > have + 1 then
    return 'gap ' .. lane .. ' ' .. number(have)
  end
  if last == have and string.match(top, '|(%x+)$') ~= hash then
    return 'forked ' .. lane .. ' ' .. number(have)
  end
  if first <= have then
    for _, entry in ipairs(redis.call('XRANGE', stream, number(first) .. '-0', number(last) .. '-0')) do
      local seq = tonumber(string.match(entry[1], '^(%d+)'))
      if entry[2][2] ~= args[at + seq - first] then
        return 'forked ' .. lane .. ' ' .. number(seq)
      end
    end
  end
  return nil
end

-- Appends those of the records that the lane does not have yet. Returns the seq where it ended before.
local function write(tops, stream, lane, first, last, top, args, at)
  local have = top_seq(tops, lane)
  if last <= have then
    return number(have)
  end
  for seq = math.max(first, have + 1), last do
    redis.call('XADD', stream, number(seq) .. '-0', 'r', args[at + seq - first])
  end
  redis.call('HSET', tops, lane, top)
  return number(have)
end

-- keys: tops, owners of the lane, owners of each lane to retire. args: lane, owner. Returns the lane's end, or 'lost'.
local function open(keys, args)
  local place = redis.call('LPOS', keys[2], args[2])
  if (place and place > 0) or redis.call('LINDEX', keys[2], 0) == RETIRED then
    return 'lost'
  end
  if not place then
    redis.call('LPUSH', keys[2], args[2])
    redis.call('LTRIM', keys[2], 0, OWNERS_KEPT - 1)
  end
  for key = 3, #keys do
    if redis.call('LINDEX', keys[key], 0) ~= RETIRED then
      redis.call('LPUSH', keys[key], RETIRED)
    end
  end
  return redis.call('HGET', keys[1], args[1]) or ''
end

-- keys: tops, owners of the lane, the lane. args: owner, lane, first seq, count, the new end, the records. Returns
-- 'ok' and the seq where the lane ended before, 'lost', or a refusal.
local function append(keys, args)
  if args[1] == RETIRED or redis.call('LINDEX', keys[2], 0) ~= args[1] then
    return 'lost'
  end
  local lane, first, top = args[2], tonumber(args[3]), args[5]
  local last = first + tonumber(args[4]) - 1
  local why = refusal(keys[1], keys[3], lane, first, last, top, args, 6)
  if why then
    return why
  end
  return 'ok ' .. write(keys[1], keys[3], lane, first, last, top, args, 6)
end

-- keys: tops, then owners and stream of each lane. args: per lane: lane, first seq, count, the new end, the
-- records. Returns 'ok' and the seq where each lane ended before, or a refusal.
local function store(keys, args)
  local groups = {}
  local at = 1
  for key = 2, #keys, 2 do
    local lane, first, count, top = args[at], tonumber(args[at + 1]), tonumber(args[at + 2]), args[at + 3]
    local group = { keys[1], keys[key + 1], lane, first, first + count - 1, top, args, at + 4 }
    if (redis.call('LINDEX', keys[key], 0) or RETIRED) ~= RETIRED then
      return 'owned ' .. lane .. ' 0'
    end
    local why = refusal(unpack(group))
    if why then
      return why
    end
    groups[#groups + 1] = group
    at = at + 4 + count
  end
  local answer = 'ok'
  for _, group in ipairs(groups) do
    answer = answer .. ' ' .. write(unpack(group))
  end
  return answer
end

-- keys: tops. args: per lane: lane, its end.
local function seed(keys, args)
  for at = 1, #args, 2 do
    redis.call('HSETNX', keys[1], args[at], args[at + 1])
  end
  return 'ok'
end

redis.register_function('planb_log_open_3', open)
redis.register_function('planb_log_append_3', append)
redis.register_function('planb_log_store_3', store)
redis.register_function('planb_log_seed_3', seed)
