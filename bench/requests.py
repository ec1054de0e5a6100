"""One request with its expected response, and lists of them: written for the load generators, and verified.

A list is sent in turn, again and again. `UNIQUE` in a path or body is replaced by eight digits that differ from one
request to the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.programs import Program, WrongResponse, wait_until

UNIQUE, FIRST_UNIQUE = "@@@@@@@@", 10_000_000
_VERIFIED_OF_EACH_KIND, _COUNTED, _SETTLE_SECONDS = 3, 20, 10


@dataclass(frozen=True, slots=True)
class Request:
    """One request with its expected JSON.

    Args:
        expected: what the JSON of the response is equal to; `unittest.mock.ANY` stands for what differs each time.
        kind: a name; the responses to requests of one kind have the same size.
        guarded: without its `authorization` field the response must be 401.
        relayed: each request leads to one request to the upstream; otherwise to none.
    """

    kind: str
    method: str
    path: str
    expected: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    guarded: bool = False
    relayed: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def to_bytes(self, host: str) -> bytes:
        """Return the request as it is sent."""
        fields = {"host": host, **self.headers}
        if self.body or self.method != "GET":
            fields["content-length"] = str(len(self.body.encode()))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{self} HTTP/1.1\r\n{lines}\r\n{self.body}".encode()


def write(requests: Iterable[Request], host: str, file: Path) -> None:
    """Write a list for the load generators: each request after a line with its length."""
    data = (request.to_bytes(host) for request in requests)
    file.write_bytes(b"".join(b"%d\n%b" % (len(each), each) for each in data))


def read(file: Path) -> list[bytes]:
    """Return the requests of a file that `write` has written."""
    data, requests, at = file.read_bytes(), [], 0
    while at < len(data):
        line_end = data.index(b"\n", at)
        at = line_end + 1 + int(data[at:line_end])
        requests.append(data[line_end + 1 : at])
    return requests


def verify(requests: Sequence[Request], url: str) -> float:
    """Send some requests of each kind over one connection; return the mean size of the list's responses in bytes.

    Raises:
        WrongResponse: a response is not the expected one, or a guarded request is not rejected without its session.
    """
    counts: Counter[str] = Counter()
    sizes: dict[str, int] = {}
    with _client(url) as client:
        for request in requests:
            counts[request.kind] += 1
            if counts[request.kind] <= _VERIFIED_OF_EACH_KIND:
                sizes[request.kind] = _verified_size(client, request, check_guard=counts[request.kind] == 1)
    return sum(sizes[kind] * count for kind, count in counts.items()) / len(requests)


def verify_relaying(requests: Sequence[Request], url: str, upstream: Program) -> None:
    """Raise WrongResponse unless a warm contender sends one request upstream for each relayed request."""
    some = requests[:_COUNTED]
    # Requests of the warm-up may still be on their way.
    wait_until(lambda: _served(upstream) + 1 == _served(upstream), _SETTLE_SECONDS, "end of the warm-up")
    before = _served(upstream)
    with _client(url) as client:
        for request in some:
            _send(client, request)
    # The request for the count counts itself.
    count, expected = _served(upstream) - before - 1, sum(request.relayed for request in some)
    if count != expected:
        raise WrongResponse(f"{len(some)} requests made {count} requests to the upstream instead of {expected}")


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=5, trust_env=False, headers={"accept-encoding": "identity"})


def _served(upstream: Program) -> int:
    """Return the number of requests that nginx has served (ngx_http_stub_status_module)."""
    return int(httpx.get(f"{upstream.url}/counted", trust_env=False).text.splitlines()[2].split()[2])


def _verified_size(client: httpx.Client, request: Request, *, check_guard: bool) -> int:
    response = _send(client, request)
    try:
        received = response.json()
    except ValueError:
        received = None
    if response.status_code != 200 or request.expected != received:
        raise WrongResponse(f"{request}: unexpected response {response.status_code}: {response.text[:300]}")
    if request.guarded and check_guard:
        status = _send(client, request, without="authorization").status_code
        if status != 401:
            raise WrongResponse(f"{request}: without a session 401 was expected, not {status}")
    head = sum(len(name) + len(value) + 4 for name, value in response.headers.raw)
    return len(f"HTTP/1.1 200 {response.reason_phrase}\r\n\r\n") + head + len(response.content)


def _send(client: httpx.Client, request: Request, without: str = "") -> httpx.Response:
    path, body = (text.replace(UNIQUE, str(FIRST_UNIQUE)) for text in (request.path, request.body))
    headers = {name: value for name, value in request.headers.items() if name != without}
    try:
        return client.request(request.method, path, headers=headers, content=body)
    except httpx.HTTPError as error:
        raise WrongResponse(f"{request}: {type(error).__name__}: {error}") from None
