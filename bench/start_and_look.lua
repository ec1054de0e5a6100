-- Starts executions, and asks once for the status of each, when it has ended: START and STATUS are the paths, of which
-- the latter has ID for the id; BODY starts an execution. LEAD executions are started before the first is asked for.
local lead = tonumber(os.getenv("LEAD"))
local ids, first, last, is_start = {}, 1, 0, false

function request()
  is_start = not is_start
  if is_start or last - first < lead then
    return wrk.format("POST", os.getenv("START"), nil, os.getenv("BODY"))
  end
  local id = ids[first]
  ids[first] = nil
  first = first + 1
  return wrk.format("GET", (os.getenv("STATUS"):gsub("ID", id)))
end

function response(_, _, body)
  local id = string.match(body, '"status":"started"') and string.match(body, '"execution_id":"(%d+)"')
  if id then
    last = last + 1
    ids[last] = id
  end
end
