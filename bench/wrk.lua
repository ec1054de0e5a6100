-- Sends the requests of a file in turn, again and again, from one thread; prints one line of JSON at the end.
-- There is no response() function, since it would make wrk the limit: statuses are counted by wrk, and sizes are compared.
function init(arguments)
  before, after = {}, {}
  local file = assert(io.open(os.getenv("BENCH_REQUESTS"), "rb"))
  for line in function() return file:read("*l") end do
    local whole = assert(file:read(tonumber(line)))
    local first, rest = whole:match("^(.-)@@@@@@@@(.*)$")
    -- A request without the mark needs no concatenation.
    before[#before + 1], after[#after + 1] = first or whole, rest or false
  end
  file:close()
  position = 0
  -- Eight digits, different in each run: 800 runs of up to 100,000 requests go by before they return.
  unique = 10000000 + os.time() * 99991 % 80000000
end

function request()
  position = position % #before + 1
  local rest = after[position]
  if not rest then
    return before[position]
  end
  unique = unique + 1
  return before[position] .. unique .. rest
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'bench-result {"requests":%d,"duration_us":%d,"bytes":%d,' ..
    '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration, summary.bytes,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
