-- The operations of the session store that two gateways must not mix up. Each call is one atomic step.
--
-- KEYS[1] is the beginning of all keys, which share one hash slot; ARGV[1] is the operation, ARGV[2] how many ends of
-- sessions of NoETL are stored at most.
-- A session is a string: the SHA-256 of its token (32 bytes), the time of its last use (18 characters), the id of its
-- user (16 digits), the mark of its `sid` (40 characters, blank without one), the time until which NoETL keeps it (18
-- characters, 0 for one that is not of NoETL), and its JSON. Such times are texts of equal length, which compare like
-- the numbers.
-- Ended sessions are announced on the channel `<beginning>ended` by their ids, in the same step.

local base, operation, max_ended = KEYS[1], ARGV[1], tonumber(ARGV[2])
local KEY, USED, SID = {0, 31}, {32, 49}, {66, 105}
local HEAD, NO_SID = 124, string.rep(' ', 40)
local operations, ended = {}, {}

local function session(id) return base .. 's:' .. id end
local function sessions_of(user) return base .. 'u:' .. user end
local function sessions_with(sid) return base .. 'i:' .. sid end
local function part(id, range) return redis.call('GETRANGE', session(id), range[1], range[2]) end

-- Remove a session. The end of a session of NoETL is stored for as long as NoETL keeps the session.
local function drop(id, announced, is_end)
  local head = redis.call('GETRANGE', session(id), 0, HEAD - 1)
  redis.call('ZREM', base .. 'expiry', id)
  if #head < HEAD then return false end
  local user, sid = tonumber(string.sub(head, 51, 66)), string.sub(head, 67, 106)
  local kept_until = tonumber(string.sub(head, 107, HEAD))
  if is_end and kept_until > tonumber(redis.call('TIME')[1]) then
    redis.call('ZADD', base .. 'ended', kept_until + 1, string.sub(head, 1, 32))
    if redis.call('ZCARD', base .. 'ended') > max_ended then redis.call('ZPOPMIN', base .. 'ended') end
  end
  redis.call('DEL', session(id))
  redis.call('ZREM', sessions_of(string.format('%.0f', user)), id)
  if sid ~= NO_SID then redis.call('SREM', sessions_with(sid), id) end
  if announced then ended[#ended + 1] = id end
  return true
end

local function user_of(person, given)
  if given ~= '0' then
    redis.call('HSET', base .. 'users', person, given)
    return given
  end
  local user = redis.call('HGET', base .. 'users', person)
  if not user then
    user = string.format('%.0f', redis.call('INCR', base .. 'last_user_id'))
    redis.call('HSET', base .. 'users', person, user)
  end
  return user
end

-- key, id, user ('0': that of the person), person, sid, kept_until, created, expires, used, most, json
-- -> the id of the user (-1 if the session was ended here), and the sessions that ended
function operations.create(key, id, user, person, sid, kept_until, created, expires, used, most, json)
  if tonumber(kept_until) > 0 and redis.call('ZSCORE', base .. 'ended', key) then return {-1} end
  user = user_of(person, user)
  drop(id, true, false)
  local own = sessions_of(user)
  if tonumber(most) > 0 then
    local beyond = redis.call('ZCARD', own) - tonumber(most)
    if beyond >= 0 then
      for _, oldest in ipairs(redis.call('ZRANGE', own, 0, beyond)) do
        if not drop(oldest, true, true) then redis.call('ZREM', own, oldest) end
      end
    end
  end
  redis.call('SET', session(id), key .. used .. string.format('%016.0f', tonumber(user)) .. sid .. kept_until .. json)
  redis.call('ZADD', base .. 'expiry', expires, id)
  redis.call('ZADD', own, created, id)
  if sid ~= NO_SID then redis.call('SADD', sessions_with(sid), id) end
  return {tonumber(user), unpack(ended)}
end

-- id, key, used, and the same of more sessions
function operations.touch(...)
  local given = {...}
  for n = 1, #given, 3 do
    local id, key, used = given[n], given[n + 1], given[n + 2]
    if part(id, KEY) == key and part(id, USED) < used then
      redis.call('SETRANGE', session(id), USED[1], used)
    end
  end
  return #given / 3
end

-- id, key -> 1 if the session existed
function operations.finish(id, key)
  if part(id, KEY) ~= key then return 0 end
  return drop(id, true, true) and 1 or 0
end

-- user, most -> the sessions that ended; there may be more if there are `most`
function operations.end_user(user, most)
  local found = redis.call('ZRANGE', sessions_of(user), 0, tonumber(most) - 1)
  for _, id in ipairs(found) do
    if not drop(id, true, true) then redis.call('ZREM', sessions_of(user), id) end
  end
  return found
end

-- name, until, the maximum of names; 1 if the logout is new, 0 if it was used before
function operations.use_logout(name, expires, most)
  local names = base .. 'logouts'
  if redis.call('ZSCORE', names, name) then return 0 end
  if redis.call('ZCARD', names) < tonumber(most) then redis.call('ZADD', names, expires, name) end
  return 1
end

-- person, sid ('' for none), by_person, most -> the strings of the sessions that ended
function operations.end_logout(person, sid, by_person, most)
  local found
  if by_person == '1' then
    local user = redis.call('HGET', base .. 'users', person)
    found = user and redis.call('ZRANGE', sessions_of(user), 0, -1) or {}
  else
    found = redis.call('SMEMBERS', sessions_with(sid))
  end
  local dropped = {}
  for _, id in ipairs(found) do
    local own = part(id, SID)
    if #dropped < tonumber(most) and (sid == '' or own == sid or (by_person == '1' and own == NO_SID)) then
      local data = redis.call('GET', session(id))
      if drop(id, true, true) then dropped[#dropped + 1] = data end
    end
  end
  return dropped
end

-- now, most -> the number of expired sessions that were deleted
function operations.purge(now, most)
  redis.call('ZREMRANGEBYSCORE', base .. 'logouts', '-inf', now)
  redis.call('ZREMRANGEBYSCORE', base .. 'ended', '-inf', now)
  local found = redis.call('ZRANGEBYSCORE', base .. 'expiry', '-inf', now, 'LIMIT', 0, most)
  for _, id in ipairs(found) do drop(id, false, true) end
  return #found
end

-- limit (a time of use), first, count -> the sessions that were deleted, and those that were looked at
function operations.purge_idle(limit, first, count)
  local found = redis.call('ZRANGE', base .. 'expiry', first, first + count - 1)
  local dead = 0
  for _, id in ipairs(found) do
    local used = part(id, USED)
    if #used == #limit and used <= limit and drop(id, true, true) then dead = dead + 1 end
  end
  return {dead, #found}
end

local result = operations[operation](unpack(ARGV, 3))
if #ended > 0 then redis.call('PUBLISH', base .. 'ended', table.concat(ended)) end
return result
