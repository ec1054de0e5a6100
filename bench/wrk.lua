-- One request, taken from the environment and sent again and again, byte for byte the same or not; one line of JSON at the end.
-- No response() callback: it would make wrk the limit. What comes back is judged by its status counts and its size.
wrk.method = os.getenv("BENCH_METHOD") or "GET"
for line in (os.getenv("BENCH_HEADERS") or ""):gmatch("[^\n]+") do
  local name, value = line:match("^([^:]+): (.*)$")
  wrk.headers[name] = value
end
local body = os.getenv("BENCH_BODY")
if body and body ~= "" then
  wrk.body = body
end


-- With BENCH_UNLIKE no request is like another: each has an id of its own, put into bytes that were made once.
if os.getenv("BENCH_UNLIKE") == "1" then
  local before, after, own, count
  function init(arguments)
    wrk.headers["x-request-id"] = "@@"
    before, after = wrk.format():match("^(.-)@@(.*)$")
    own = tostring({}):match("0x(%x+)") .. "-" .. os.time() .. "-"
    count = 0
  end
  function request()
    count = count + 1
    return before .. own .. count .. after
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'bench-result {"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
