-- The operations of live executions. Each call is one atomic step.
--
-- KEYS[1] is the beginning of all keys, which share one hash slot; ARGV[1] is the operation.
--   c:<client>   hash: u owner, l number of the last event, w of the last written one, s bytes, n events
--   i:<client>   sorted set: "<number>:<method>:<bytes>" of each event, by number;   e:<client>  hash: number -> event
--   w:<client>   sorted set: requests that wait, by their order;  st:<client>  set: processes with an open stream
--   r:<request>  hash: the request;  p:<process>, sp:<process>  sets: requests that it follows, clients of its streams
--   clients, requests, processes  sorted sets by time of use;  uc:<user>  sorted set: clients;  bytes, order  numbers
-- New events are announced on the channel `<beginning>wake`, in the same step.

local base, operation = KEYS[1], ARGV[1]
local operations = {}
local FULL, ROOM, DONE = 0, 2, 1

local function name(kind, id) return base .. kind .. ':' .. id end
local function text(number) return string.format('%.0f', number) end
local function known(client) return redis.call('EXISTS', name('c', client)) == 1 end
local function in_use(client) return redis.call('EXISTS', name('w', client), name('st', client)) > 0 end

local function drop_client(client)
  local found = redis.call('HMGET', name('c', client), 'u', 's')
  if found[1] then
    redis.call('ZREM', name('uc', found[1]), client)
    redis.call('DECRBY', base .. 'bytes', found[2])
  end
  redis.call('DEL', name('c', client), name('e', client), name('i', client))
  redis.call('ZREM', base .. 'clients', client)
end

local function no_longer_waits(request)
  local found = redis.call('HMGET', name('r', request), 'client_id', 'process')
  if found[1] then redis.call('ZREM', name('w', found[1]), request) end
  if found[2] then redis.call('SREM', name('p', found[2]), request) end
end

local function drop_request(request)
  no_longer_waits(request)
  redis.call('DEL', name('r', request))
  redis.call('ZREM', base .. 'requests', request)
end

-- client, user, now, number, clients of the user, all clients -> its owner, or what is full
function operations.open_client(client, user, now, number, most_own, most)
  local owner = redis.call('HGET', name('c', client), 'u')
  if not owner then
    local own = name('uc', user)
    if redis.call('ZCARD', own) >= tonumber(most_own) then
      local away
      for _, each in ipairs(redis.call('ZRANGE', own, 0, -1)) do
        if not in_use(each) then away = each break end
      end
      if not away then return {FULL, 'user ' .. user .. ' has ' .. most_own .. ' clients'} end
      drop_client(away)
    end
    if redis.call('ZCARD', base .. 'clients') >= tonumber(most) then
      return {FULL, 'there are ' .. most .. ' clients'}
    end
    redis.call('HSET', name('c', client), 'u', user, 'l', number, 'w', number, 's', 0, 'n', 0)
    redis.call('ZADD', own, redis.call('INCR', base .. 'order'), client)
    owner = user
  end
  if owner == user then redis.call('ZADD', base .. 'clients', now, client) end
  return {DONE, owner}
end

-- client, request, process, begun, the maximum that wait, fields of the request -> what is full
function operations.begin(client, request, process, begun, most, ...)
  if redis.call('ZCARD', name('w', client)) >= tonumber(most) then
    return {FULL, 'client ' .. client .. ' waits for ' .. most .. ' results'}
  end
  redis.call('HSET', name('r', request), ...)
  redis.call('ZADD', base .. 'requests', begun, request)
  redis.call('ZADD', name('w', client), redis.call('INCR', base .. 'order'), request)
  redis.call('SADD', name('p', process), request)
  return {DONE, ''}
end

function operations.started(request, execution, path)
  if redis.call('EXISTS', name('r', request)) == 1 then
    redis.call('HSET', name('r', request), 'execution_id', execution, 'path', path)
  end
end

function operations.keep(request, now)
  if redis.call('HGET', name('r', request), 'is_over') == '0' then
    redis.call('HSET', name('r', request), 'alive_at', now)
    redis.call('ZADD', base .. 'requests', now, request)
  end
end

function operations.abandon(request) drop_request(request) end

local function fields_of(requests)
  local found = {}
  for _, request in ipairs(requests) do
    local fields = redis.call('HGETALL', name('r', request))
    if #fields > 0 then found[#found + 1] = fields end
  end
  return found
end

function operations.waiting(client) return fields_of(redis.call('ZRANGE', name('w', client), 0, -1)) end

function operations.followed_by(process) return fields_of(redis.call('SMEMBERS', name('p', process))) end

local function remove(client, members)
  local freed = 0
  for _, member in ipairs(members) do
    redis.call('HDEL', name('e', client), string.match(member, '^%d+'))
    redis.call('ZREM', name('i', client), member)
    freed = freed + tonumber(string.match(member, '%d+$'))
  end
  redis.call('HINCRBY', name('c', client), 's', -freed)
  redis.call('HINCRBY', name('c', client), 'n', -#members)
  redis.call('DECRBY', base .. 'bytes', freed)
end

-- request, maximum of events, of bytes, of all bytes, now in ms, origin, is it the end, state of the client ('' if no
-- event is to be removed), the number of events to remove and these, then method and JSON of each new event
-- -> {DONE, 1 if they were added} or {FULL, text} or
-- {ROOM, client, its state, last written event, events and bytes too many, index}
function operations.append(request, most, most_bytes, most_all, now, origin, is_end, expected, removed, ...)
  local given, first = {...}, tonumber(removed) + 1
  local found = redis.call('HMGET', name('r', request), 'client_id', 'is_over')
  local client = found[1]
  if not client or found[2] == '1' or not known(client) then return {DONE, 0} end
  local state = redis.call('HMGET', name('c', client), 'l', 'n', 's', 'w')
  local version = state[1] .. ':' .. state[2]
  local size, count = 0, (#given - first + 1) / 2
  for n = first, #given, 2 do size = size + #given[n + 1] end
  if tonumber(redis.call('GET', base .. 'bytes') or 0) + size > tonumber(most_all) then
    return {FULL, 'the space for events is used up'}
  end
  local too_many = tonumber(state[2]) + count - tonumber(most)
  local too_large = tonumber(state[3]) + size - tonumber(most_bytes)
  if too_many > 0 or too_large > 0 then
    if expected ~= version then
      return {ROOM, client, version, state[4], text(too_many), text(too_large), redis.call('ZRANGE', name('i', client), 0, -1)}
    end
    remove(client, {unpack(given, 1, first - 1)})
  end
  local number = tonumber(state[1])
  for n = first, #given, 2 do
    number = math.max(number + 1, tonumber(now))
    local label = text(number)
    redis.call('HSET', name('e', client), label, given[n] .. '\0' .. given[n + 1])
    redis.call('ZADD', name('i', client), label, label .. ':' .. given[n] .. ':' .. #given[n + 1])
  end
  redis.call('HSET', name('c', client), 'l', text(number))
  redis.call('HINCRBY', name('c', client), 's', size)
  redis.call('HINCRBY', name('c', client), 'n', count)
  redis.call('INCRBY', base .. 'bytes', size)
  if is_end == '1' then
    no_longer_waits(request)
    redis.call('HSET', name('r', request), 'is_over', '1')
  end
  redis.call('PUBLISH', base .. 'wake', origin .. ' ' .. text(count) .. ' ' .. client)
  return {DONE, 1}
end

-- client, after, maximum of events, of bytes -> number and event of each
function operations.events(client, after, most, most_bytes)
  local numbers, size = {}, 0
  local found = redis.call('ZRANGEBYSCORE', name('i', client), '(' .. after, '+inf', 'LIMIT', 0, most)
  for n, member in ipairs(found) do
    numbers[n] = string.match(member, '^%d+')
    size = size + tonumber(string.match(member, '%d+$'))
    if size >= tonumber(most_bytes) then break end
  end
  if #numbers == 0 then return {{}, {}} end
  return {numbers, redis.call('HMGET', name('e', client), unpack(numbers))}
end

-- now, and client and number of each
function operations.wrote(now, ...)
  local given = {...}
  for n = 1, #given, 2 do
    local client, number = given[n], given[n + 1]
    if known(client) and tonumber(redis.call('HGET', name('c', client), 'w')) < tonumber(number) then
      redis.call('HSET', name('c', client), 'w', number)
      redis.call('ZADD', base .. 'clients', 'XX', 'GT', now, client)
    end
  end
end

function operations.open_stream(client, process)
  if not known(client) then return end
  redis.call('SADD', name('st', client), process)
  redis.call('SADD', name('sp', process), client)
end

function operations.close_stream(client, process, now)
  redis.call('SREM', name('st', client), process)
  redis.call('SREM', name('sp', process), client)
  redis.call('ZADD', base .. 'clients', 'XX', now, client)
end

-- process, most -> the number of streams that were forgotten; there may be more if it is `most`
function operations.forget_streams(process, most)
  local found = redis.call('SPOP', name('sp', process), most)
  for _, client in ipairs(found) do redis.call('SREM', name('st', client), process) end
  return #found
end

-- before, now, most -> the number of entries that were looked at; there may be more if it is `most`
function operations.purge(before, now, most)
  local old = redis.call('ZRANGEBYSCORE', base .. 'requests', '-inf', '(' .. before, 'LIMIT', 0, most)
  for _, request in ipairs(old) do drop_request(request) end
  local unused = redis.call('ZRANGEBYSCORE', base .. 'clients', '-inf', '(' .. before, 'LIMIT', 0, most)
  for _, client in ipairs(unused) do
    if in_use(client) then redis.call('ZADD', base .. 'clients', now, client) else drop_client(client) end
  end
  return math.max(#old, #unused)
end

-- process -> nothing; a process that ends well is dead at once
function operations.retire(process)
  if redis.call('EXISTS', name('p', process), name('sp', process)) == 0 then
    redis.call('ZREM', base .. 'processes', process)
  else
    redis.call('ZADD', base .. 'processes', 0, process)
  end
end

-- process, seconds without a sign of life, most -> the requests that the process now follows for one that is dead
function operations.beat(process, seconds, most)
  local now = tonumber(redis.call('TIME')[1])
  redis.call('ZADD', base .. 'processes', now, process)
  local dead = redis.call('ZRANGEBYSCORE', base .. 'processes', '-inf', '(' .. (now - seconds), 'LIMIT', 0, 1)[1]
  if not dead then return {} end
  for _, client in ipairs(redis.call('SPOP', name('sp', dead), most)) do
    redis.call('SREM', name('st', client), dead)
  end
  local taken = redis.call('SPOP', name('p', dead), most)
  for _, request in ipairs(taken) do
    if redis.call('EXISTS', name('r', request)) == 1 then
      redis.call('HSET', name('r', request), 'process', process)
      redis.call('SADD', name('p', process), request)
    end
  end
  if redis.call('EXISTS', name('p', dead), name('sp', dead)) == 0 then
    redis.call('ZREM', base .. 'processes', dead)
  end
  return fields_of(taken)
end

return operations[operation](unpack(ARGV, 2))
