# ruff: noqa: E501 - data in lines
"""The part of the corpus that is about request lines, fields, hosts, versions, pipelining, upgrades and bodies."""

from __future__ import annotations

from collections.abc import Iterator

from tests.attack.payloads import AUTH, CL, HOST, SMUGGLED, TE, Must, Payload, chunked, framed, head

GET = b"GET /noetl/things HTTP/1.1"
LINE_ENDS: dict[str, bytes] = {
    "all lf": head(GET, end=b"\n"),
    "all cr": head(GET, end=b"\r"),
    "all lf cr": head(GET, end=b"\n\r"),
    "all cr cr lf": head(GET, end=b"\r\r\n"),
    "lf after the request line": GET + b"\n" + HOST + b"\r\n" + AUTH + b"\r\n\r\n",
    "cr after the request line": GET + b"\r" + HOST + b"\r\n" + AUTH + b"\r\n\r\n",
    "lf after a field": GET + b"\r\n" + HOST + b"\n" + AUTH + b"\r\n\r\n",
    "cr after a field": GET + b"\r\n" + HOST + b"\r" + AUTH + b"\r\n\r\n",
    "lf for the end": GET + b"\r\n" + HOST + b"\r\n" + AUTH + b"\r\n\n",
    "lf lf for the end": GET + b"\r\n" + HOST + b"\r\n" + AUTH + b"\n\n",
    "cr for the end": GET + b"\r\n" + HOST + b"\r\n" + AUTH + b"\r\n\r" + SMUGGLED,
    "nul for the end": GET + b"\r\n" + HOST + b"\r\n" + AUTH + b"\r\n\x00\r\n\r\n",
    "space for the end": GET + b"\r\n" + HOST + b"\r\n" + AUTH + b"\r\n \r\n\r\n",
}
BEFORE: dict[str, bytes] = {
    "a line end": b"\r\n", "a lf": b"\n", "two line ends": b"\r\n\r\n", "a hundred line ends": b"\r\n" * 100,
    "a space": b" ", "a tab": b"\t", "a nul": b"\x00", "a bom": b"\xef\xbb\xbf", "a cr": b"\r", "a vertical tab": b"\x0b",
}  # fmt: skip
FIELDS: dict[str, bytes] = {
    "space before colon": b"x-a : 1", "tab before colon": b"x-a\t: 1", "no colon": b"x-a", "empty name": b": 1",
    "only a colon": b":", "space in name": b"x a: 1", "quote in name": b'x"a: 1', "brackets in name": b"x(a): 1",
    "slash in name": b"x/a: 1", "at in name": b"x@a: 1", "comma in name": b"x,a: 1", "equals in name": b"x=a: 1",
    "non-ascii name": "xé: 1".encode(), "latin-1 name": b"x\xe9: 1", "del in name": b"x\x7f: 1", "first line folded": b" x: 1",
    "obs-fold": b"x-a: 1\r\n 2", "obs-fold with tab": b"x-a: 1\r\n\t2", "obs-fold with a user": b"x-a: 1\r\n x-user-id: 666",
    "lf and a user": b"x-a: 1\nx-user-id: 666", "cr and a user": b"x-a: 1\rx-user-id: 666",
    "cr nul and a user": b"x-a: 1\r\x00x-user-id: 666", "brace in name": b"x{a}: 1", "semicolon in name": b"x;a: 1",
}  # fmt: skip
STARTS: dict[str, bytes] = {
    "no version": b"GET /noetl/things", "only a method": b"GET", "two spaces": b"GET  /noetl/things HTTP/1.1",
    "two spaces before the version": b"GET /noetl/things  HTTP/1.1", "tabs": b"GET\t/noetl/things\tHTTP/1.1",
    "trailing space": b"GET /noetl/things HTTP/1.1 ", "space in the target": b"GET /noetl/th ings HTTP/1.1",
    "two versions": b"GET /noetl/things HTTP/1.1 HTTP/1.1", "lower-case method": b"get /noetl/things HTTP/1.1",
    "unknown method": b"FOO /noetl/things HTTP/1.1", "method with a colon": b"GET: /noetl/things HTTP/1.1",
    "method with nul": b"G\x00ET /noetl/things HTTP/1.1", "method with cr": b"G\rET /noetl/things HTTP/1.1",
    "nul in the target": b"GET /noetl/th\x00ings HTTP/1.1", "cr in the target": b"GET /noetl/th\rings HTTP/1.1",
    "lf in the target": b"GET /noetl/things\n HTTP/1.1", "tab in the target": b"GET /noetl/th\tings HTTP/1.1",
    "non-ascii target": b"GET /noetl/\xe9 HTTP/1.1", "del in the target": b"GET /noetl/\x7f HTTP/1.1",
    "escape in the target": b"GET /noetl/\x1b[31m HTTP/1.1", "non-ascii query": b"GET /noetl/things?\xe9 HTTP/1.1",
    "escape in the query": b"GET /noetl/things?\x1b[31m HTTP/1.1", "fragment": b"GET /noetl/things#x HTTP/1.1",
    "fragment in the query": b"GET /noetl/things?a#x HTTP/1.1", "no target": b"GET  HTTP/1.1", "relative": b"GET noetl/things HTTP/1.1",
    "star": b"GET * HTTP/1.1", "authority": b"GET gateway.test:80 HTTP/1.1", "backslash": b"GET \\noetl\\things HTTP/1.1",
    "trace": b"TRACE /noetl/things HTTP/1.1", "connect": b"CONNECT gateway.test:80 HTTP/1.1",
    "connect to a path": b"CONNECT /noetl/things HTTP/1.1", "pri": b"PRI * HTTP/2.0", "source": b"SOURCE /noetl/things ICE/1.0",
}  # fmt: skip
VERSIONS = (
    b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/2", b"HTTP/1", b"HTTP/11", b"HTTP/1.10", b"HTTP/01.1",
    b"HTTP/1.1.1", b"HTTP/-1.1", b"HTTP/+1.1", b"HTTP/1,1", b"HTTP/1.", b"HTTP/.1", b"HTTP/a.b", b"http/1.1", b"Http/1.1", b"HTTP 1.1",
    b"HTTP/ 1.1", b"HTTP\\1.1", b"HTTPS/1.1", b"HTP/1.1", b"RTSP/1.0", b"ICE/1.0", b"HTTP/1.1\x00", b"HTTP/9.9",
)  # fmt: skip
HOSTS: dict[str, tuple[bytes, ...]] = {
    "none": (), "twice": (HOST, HOST), "two": (HOST, b"host: evil.test"), "two, the first foreign": (b"host: evil.test", HOST),
    "list": (b"host: gateway.test, evil.test",), "space": (b"host: gateway.test evil.test",), "user": (b"host: user@gateway.test",),
    "path": (b"host: gateway.test/x",), "query": (b"host: gateway.test?x",), "fragment": (b"host: gateway.test#x",),
    "scheme": (b"host: http://gateway.test",), "port word": (b"host: gateway.test:http",), "port huge": (b"host: gateway.test:999999",),
    "two ports": (b"host: gateway.test:80:81",), "nul": (b"host: gateway.test\x00",), "quote": (b'host: gateway.test"',),
    "semicolon": (b"host: gateway.test;x",), "folded": (b"host:\r\n gateway.test",), "space before colon": (b"host : gateway.test",),
    "non-ascii": ("host: gatewäy.test".encode(),), "escape": (b"host: \x1b[31m",),
    "percent": (b"host: gateway%2etest",), "bracket": (b"host: [::1",), "comma alone": (b"host: ,",), "backslash": (b"host: gateway.test\\x",),
}  # fmt: skip
GOOD_HOSTS = (
    b"host: GATEWAY.TEST",
    b"host: gateway.test:8080",
    b"Host:gateway.test",
    b"host: [::1]:80",
    b"host: 127.0.0.1",
    b"host:",
)
ABSOLUTE: dict[str, bytes] = {
    "another host": b"http://evil.test/noetl/things", "user": b"http://user@gateway.test/noetl/things",
    "host as user": b"http://gateway.test@evil.test/noetl/things", "port": b"http://gateway.test:81/noetl/things",
    "no host": b"http:///noetl/things", "no path": b"http://gateway.test", "query for a path": b"http://gateway.test?/noetl/things",
    "fragment": b"http://gateway.test/noetl/things#x", "backslash": b"http://gateway.test\\noetl\\things",
    "one slash": b"http:/gateway.test/noetl/things", "no slashes": b"http:noetl/things", "long scheme": b"abcdefghij://gateway.test/noetl/things",
    "no scheme": b"//gateway.test/noetl/things", "hidden in a path": b"/x://gateway.test/noetl/things",
    "hidden in a query": b"/?u=x://gateway.test/noetl/things", "dots": b"http://gateway.test/noetl/../noetl/things",
    "another scheme": b"ftp://gateway.test/noetl/things", "hidden, one letter": b"/a?://gateway.test/noetl/things",
}  # fmt: skip
GOOD_ABSOLUTE = (
    b"http://gateway.test/noetl/things",
    b"HTTP://gateway.test/noetl/things",
    b"https://GATEWAY.TEST/noetl/things",
)


def head_payloads() -> Iterator[Payload]:
    """This part of the corpus, in its order."""
    for name, data in LINE_ENDS.items():
        yield Payload("bare LF and CR", name, data)
    for name, before in BEFORE.items():
        must = Must.ANY if before.strip(b"\r\n") == b"" else Must.REFUSED
        yield Payload("before the request", name, before + head(GET), must)
    for name, line in FIELDS.items():
        lines = (line,)
        data = (
            GET + b"\r\n" + line + b"\r\n" + HOST + b"\r\n" + AUTH + b"\r\n\r\n"
            if name == "first line folded"
            else head(GET, *lines)
        )
        yield Payload("field syntax", name, data)
    for code in (*range(9), *range(11, 13), *range(14, 32), 127):
        yield Payload("control characters", f"{code:#04x} in a value", head(GET, b"x-a: 1%c2" % code))
        yield Payload("control characters", f"{code:#04x} in a name", head(GET, b"x%ca: 1" % code))
    for name, start in STARTS.items():
        # RFC 9112, 3 lets a server take runs of blanks for one; upstream gets one
        must = Must.ONE if name.startswith("two spaces") else Must.REFUSED
        yield Payload("request line", name, head(start), must)
    for version in VERSIONS:
        must = Must.ANY if version in (b"HTTP/1.2", b"HTTP/1.9", b"RTSP/1.0") else Must.REFUSED
        yield Payload("version", version.decode(), head(b"GET /noetl/things " + version), must)
    yield from _hosts()
    yield from _old()
    yield from _pipelines()
    yield from _upgrades()
    yield from _bodies()
    yield from _sizes()


def _hosts() -> Iterator[Payload]:
    for name, hosts in HOSTS.items():
        yield Payload("Host", name, head(GET, *hosts, host=b""))
    for host in GOOD_HOSTS:
        yield Payload("Host in its ways", host.decode(), head(GET, host=host), Must.ONE)
    for name, target in ABSOLUTE.items():
        yield Payload("absolute form", name, head(b"GET %b HTTP/1.1" % target))
    for target in GOOD_ABSOLUTE:
        yield Payload("absolute form in its ways", target.decode(), head(b"GET %b HTTP/1.1" % target), Must.ONE)


def _old() -> Iterator[Payload]:
    for name, data in {
        "simple": b"GET /noetl/things\r\n", "simple, lf": b"GET /noetl/things\n", "simple with fields": head(b"GET /noetl/things"),
        "simple, then a request": b"GET /noetl/things\r\n" + SMUGGLED,
    }.items():  # fmt: skip
        yield Payload("HTTP/0.9", name, data)
    start = b"GET /noetl/things HTTP/1.0"
    for name, data, must in (
        ("plain", head(start), Must.ONE),
        ("no host", head(start, host=b""), Must.ONE),
        ("keep-alive", head(start, b"connection: keep-alive"), Must.ONE),
        ("keep-alive and a second", head(start, b"connection: keep-alive") + SMUGGLED, Must.ANY),
        ("plain and a second", head(start) + SMUGGLED, Must.ANY),
        ("post", head(b"POST /noetl/things HTTP/1.0", CL % 5) + b"hello", Must.ONE),
        ("post without length", head(b"POST /noetl/things HTTP/1.0") + b"hello", Must.ANY),
        ("chunked", head(b"POST /noetl/things HTTP/1.0", TE) + chunked(b"hello"), Must.ANY),
        ("two hosts", head(start, b"host: evil.test"), Must.REFUSED),
        ("expect", head(b"POST /noetl/things HTTP/1.0", CL % 5, b"expect: 100-continue") + b"hello", Must.ONE),
    ):
        yield Payload("HTTP/1.0", name, data, must)


def _pipelines() -> Iterator[Payload]:
    get, post = head(GET), framed(CL % 5, body=b"hello")
    for name, data, must in (
        ("two", get * 2, Must.ANY),
        ("nine", get * 9, Must.ANY),
        ("with bodies", post * 3, Must.ANY),
        ("chunked and plain", framed(TE, body=chunked(b"hello")) + get, Must.ANY),
        ("a forged one after", get + SMUGGLED, Must.ANY),
        ("a forged one after a body", post + SMUGGLED, Must.ANY),
        ("a forged one after close", head(GET, b"connection: close") + SMUGGLED, Must.ANY),
        ("without a session after", get + head(GET, auth=b""), Must.ANY),
        ("garbage after", get + b"\x00\x01garbage\r\n\r\n", Must.ANY),
        ("half a request after", get + b"GET /noetl/th", Must.ANY),
        ("head and get", head(b"HEAD /noetl/things HTTP/1.1") + get, Must.ANY),
        ("line ends between", get + b"\r\n\r\n" + get, Must.ANY),
        ("two hosts", get + head(GET, host=b"host: other.test"), Must.ANY),
        ("a refused one first", head(b"GET /nothing HTTP/1.1") + get, Must.ANY),
        (
            "a refused one with a body first",
            head(b"POST /nothing HTTP/1.1", CL % len(SMUGGLED)) + SMUGGLED + get,
            Must.ANY,
        ),
    ):
        yield Payload("pipelining", name, data, must)


def _upgrades() -> Iterator[Payload]:
    for name, lines in {
        "h2c": (b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAARAAAAAAAIAAAAA"),
        "h2c without connection": (b"upgrade: h2c",),
        "h2": (b"connection: upgrade", b"upgrade: h2"),
        "websocket": (
            b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13", b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
        ),
        "websocket, bad version": (b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 777"),
        "websocket and h2c": (b"connection: upgrade", b"upgrade: websocket, h2c"),
        "TLS": (b"connection: upgrade", b"upgrade: TLS/1.2"),
        "unknown": (b"connection: upgrade", b"upgrade: cow"),
        "empty": (b"connection: upgrade", b"upgrade:"),
        "capitals": (b"Connection: UPGRADE", b"Upgrade: H2C"),
    }.items():  # fmt: skip
        yield Payload("upgrade", name, head(GET, *lines), Must.ANY)
        yield Payload("upgrade", f"{name}, and a request", head(GET, *lines) + SMUGGLED, Must.ANY)
    yield Payload(
        "upgrade", "h2c with a body", framed(b"connection: upgrade", b"upgrade: h2c", CL % 5, body=b"hello"), Must.ANY
    )
    yield Payload("upgrade", "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 9)


def _bodies() -> Iterator[Payload]:
    for expect in (
        b"100-continue",
        b"100-Continue",
        b"200-ok",
        b"100-continue, 100-continue",
        b"",
        b"x" * 100,
        b"100-continue;q=1",
    ):
        data = framed(b"expect: " + expect, CL % 5, body=b"hello")
        yield Payload("Expect", f"{expect[:20].decode() or 'empty'}, body at once", data, Must.ANY)
    yield Payload("Expect", "no body", framed(b"expect: 100-continue"), Must.ANY)
    yield Payload("Expect", "GET", head(GET, b"expect: 100-continue"), Must.ANY)
    yield Payload("Expect", "chunked", framed(b"expect: 100-continue", TE, body=chunked(b"hello")), Must.ANY)
    yield Payload(
        "Expect", "twice", framed(b"expect: 100-continue", b"expect: 100-continue", CL % 5, body=b"hello"), Must.ANY
    )
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
        start = method + b" /noetl/things HTTP/1.1"
        word = method.decode()
        yield Payload("bodies where none is usual", f"{word}, length", head(start, CL % 5) + b"hello", Must.ANY)
        yield Payload("bodies where none is usual", f"{word}, chunked", head(start, TE) + chunked(b"hello"), Must.ANY)
        yield Payload(
            "bodies where none is usual", f"{word}, a request", head(start, CL % len(SMUGGLED)) + SMUGGLED, Must.ANY
        )
        yield Payload("bodies where none is usual", f"{word}, no length", head(start) + SMUGGLED, Must.ANY)


def _sizes() -> Iterator[Payload]:
    for name, data in {
        "long target": head(b"GET /noetl/" + b"a" * 40000 + b" HTTP/1.1"),
        "long query": head(b"GET /noetl/things?" + b"a" * 40000 + b" HTTP/1.1"),
        "long value": head(GET, b"x-a: " + b"a" * 40000), "long name": head(GET, b"a" * 40000 + b": 1"),
        "many fields": head(GET, *(b"x-%d: 1" % n for n in range(400))), "long method": head(b"G" * 40000 + b" / HTTP/1.1"),
        "long version": head(b"GET /noetl/things HTTP/1." + b"1" * 40000), "no end": GET + b"\r\nx-a: " + b"a" * 40000,
    }.items():  # fmt: skip
        yield Payload("sizes", name, data)
