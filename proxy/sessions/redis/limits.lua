-- Counts requests of rate limits. KEYS[1] is the beginning of all keys; ARGV[1] is the operation, always `count`.
--
-- A key is the time, in seconds, at which its full burst is available again; it expires then.

local base = KEYS[1]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local left = {}

-- key, seconds that a request costs, number of requests; and the same of more keys
for n = 2, #ARGV, 3 do
  local name, cost = base .. ARGV[n], tonumber(ARGV[n + 1]) * tonumber(ARGV[n + 2])
  local whole = math.max(tonumber(redis.call('GET', name) or 0), now) + cost
  redis.call('SET', name, string.format('%.6f', whole), 'PX', math.ceil((whole - now) * 1000) + 1)
  left[#left + 1] = string.format('%.6f', whole - now)
end
return left
