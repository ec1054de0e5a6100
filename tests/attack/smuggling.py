# ruff: noqa: E501 - data in lines
"""Generates the corpus of request-smuggling and malformed-framing payloads.

The classes are those of HTTP Garden and of the smuggler tool, written anew. `python -m tests.attack.smuggling` prints
them; what became of each is stated in `corpus/smuggling.tsv`. `NOETL_EDGE_WRITE_CORPUS=1 make attack` writes that file anew,
for a look at the diff.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.attack.payloads import CL, INNER_CHUNKED, SMUGGLED, TE, Must, Payload, chunked, framed, head
from tests.attack.smuggling_heads import head_payloads

TE_SPELLINGS: dict[str, bytes] = {
    "plain": b"transfer-encoding: chunked",
    "capitals": b"Transfer-Encoding: chunked",
    "all capitals": b"TRANSFER-ENCODING: CHUNKED",
    "mixed": b"tRANSFER-eNCODING: cHuNkEd",
    "no space": b"transfer-encoding:chunked",
    "two spaces": b"transfer-encoding:  chunked",
    "tab": b"transfer-encoding:\tchunked",
    "trailing space": b"transfer-encoding: chunked ",
    "trailing tab": b"transfer-encoding: chunked\t",
    "space before colon": b"transfer-encoding : chunked",
    "tab before colon": b"transfer-encoding\t: chunked",
    "leading space": b" transfer-encoding: chunked",
    "leading tab": b"\ttransfer-encoding: chunked",
    "vertical tab": b"transfer-encoding:\x0bchunked",
    "form feed": b"transfer-encoding:\x0cchunked",
    "vertical tab after": b"transfer-encoding: chunked\x0b",
    "nul after": b"transfer-encoding: chunked\x00",
    "nul before": b"transfer-encoding: \x00chunked",
    "nul in name": b"transfer\x00-encoding: chunked",
    "nbsp": b"transfer-encoding: \xa0chunked",
    "0x85": b"transfer-encoding: \x85chunked",
    "0xff": b"transfer-encoding: chunked\xff",
    "bare cr after": b"transfer-encoding: chunked\r",
    "bare cr before": b"transfer-encoding: \rchunked",
    "bare lf before": b"transfer-encoding:\nchunked",
    "cr in name": b"transfer\r-encoding: chunked",
    "folded": b"transfer-encoding:\r\n chunked",
    "folded with tab": b"transfer-encoding:\r\n\tchunked",
    "folded twice": b"transfer-encoding:\r\n \r\n chunked",
    "hidden behind a cr": b"x: y\rtransfer-encoding: chunked",
    "hidden behind a lf": b"x: y\ntransfer-encoding: chunked",
    "quoted": b'transfer-encoding: "chunked"',
    "single quoted": b"transfer-encoding: 'chunked'",
    "underscore": b"transfer_encoding: chunked",
    "dot": b"transfer.encoding: chunked",
    "no hyphen": b"transferencoding: chunked",
    "backslash": b"transfer\\encoding: chunked",
    "x prefix": b"transfer-encoding: xchunked",
    "suffix": b"transfer-encoding: chunkedx",
    "hyphen": b"transfer-encoding: chunked-",
    "prefix of it": b"transfer-encoding: chunk",
    "comma before": b"transfer-encoding: , chunked",
    "comma after": b"transfer-encoding: chunked,",
    "semicolon": b"transfer-encoding: chunked;",
    "parameter": b"transfer-encoding: chunked;q=1",
    "identity": b"transfer-encoding: identity",
    "identity, chunked": b"transfer-encoding: identity, chunked",
    "chunked, identity": b"transfer-encoding: chunked, identity",
    "chunked, chunked": b"transfer-encoding: chunked, chunked",
    "gzip": b"transfer-encoding: gzip",
    "gzip, chunked": b"transfer-encoding: gzip, chunked",
    "chunked, gzip": b"transfer-encoding: chunked, gzip",
    "cow, chunked": b"transfer-encoding: cow, chunked",
    "chunked cow": b"transfer-encoding: chunked cow",
    "cow chunked": b"transfer-encoding: cow chunked",
    "empty": b"transfer-encoding:",
    "no colon": b"transfer-encoding chunked",
    "equals": b"transfer-encoding=chunked",
    "two colons": b"transfer-encoding:: chunked",
    "colon before": b":transfer-encoding: chunked",
    "twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "twice, the second identity": b"transfer-encoding: chunked\r\ntransfer-encoding: identity",
    "twice, the first identity": b"transfer-encoding: identity\r\ntransfer-encoding: chunked",
    "twice, the second a cow": b"transfer-encoding: chunked\r\ntransfer-encoding: cow",
    "twice, the first a cow": b"transfer-encoding: cow\r\ntransfer-encoding: chunked",
    "twice, the first empty": b"transfer-encoding:\r\ntransfer-encoding: chunked",
    "te only": b"te: chunked",
    "content-encoding": b"content-encoding: chunked",
    "utf-8 dotless": b"transfer-encod\xc4\xb1ng: chunked",
    "utf-8 bom": b"\xef\xbb\xbftransfer-encoding: chunked",
}
_NO_FIELD = {
    "underscore", "dot", "no hyphen", "te only", "content-encoding",
}  # fmt: skip
_ORDINARY = {"plain", "capitals", "all capitals", "mixed", "no space", "two spaces", "tab", "trailing space"}

LENGTHS: dict[str, bytes] = {
    "plus": b"+5", "minus": b"-5", "minus zero": b"-0", "hex": b"0x5", "hex digits": b"a", "octal": b"0o5",
    "decimal point": b"5.0", "exponent": b"5e0", "underscore": b"1_0", "comma": b"5,", "list": b"5, 5",
    "list of two": b"5, 6", "leading comma": b",5", "semicolon": b"5;", "word": b"five", "empty": b"", "space": b" ",
    "inner space": b"1 0", "inner tab": b"1\t0", "quoted": b'"5"', "nul after": b"5\x00", "nul before": b"\x005",
    "vertical tab": b"\x0b5", "form feed": b"5\x0c", "nbsp": b"5\xa0", "cr": b"5\r", "cr before": b"\r5",
    "lf": b"5\n", "folded": b"\r\n 5", "full width": "５".encode(), "arabic": "٥".encode(), "superscript": b"\xb2",
    "2^63": b"9223372036854775808", "2^64": b"18446744073709551616", "2^64+5": b"18446744073709551621",
    "2^32+5 digits over": b"4294967301" * 4, "a thousand digits": b"9" * 1000, "NaN": b"NaN", "infinity": b"Infinity",
    "true": b"true", "bracket": b"[5]", "percent": b"%35", "ampersand": b"5&5", "plus after": b"5+", "tilde": b"~5",
}  # fmt: skip
GOOD_LENGTHS: dict[str, bytes] = {
    "plain": b"5", "leading zero": b"05", "many zeros": b"0" * 40 + b"5", "spaces before": b"   5",
    "space after": b"5 ", "tab": b"\t5\t",
}  # fmt: skip

CHUNK_SIZES: dict[str, bytes] = {
    "plus": b"+5", "minus": b"-5", "0x": b"0x5", "space before": b" 5", "tab before": b"\t5", "underscore": b"0_5",
    "word": b"xyz", "empty": b"", "g": b"g", "comma": b"5,", "point": b"5.0", "quoted": b'"5"', "nul": b"5\x00",
    "nul before": b"\x005", "vertical tab": b"5\x0b", "2^64": b"10000000000000000", "2^64+5": b"10000000000000005",
    "2^63": b"8000000000000000", "64 digits": b"f" * 64, "cr": b"5\r", "lf before": b"\n5", "full width": "５".encode(),
    "percent": b"%35", "semicolon only": b";", "bracket": b"{5}", "minus zero": b"-0", "nbsp": b"5\xa0",
    "inner space": b"0 5", "backslash": b"\\x5",
}  # fmt: skip
GOOD_SIZES: dict[str, bytes] = {"plain": b"5", "leading zeros": b"0000005"}
EXTENSIONS: dict[str, bytes] = {
    "name": b";ext", "value": b";ext=1", "quoted": b';ext="a b"', "two": b";a=1;b=2", "space": b"; ext", "empty": b";",
    "quoted crlf": b';ext="\r\n"', "bare cr": b";e\rxt", "bare lf": b";e\n", "nul": b";e\x00", "long": b";" + b"a" * 20000,
    "space before": b" ;ext", "space only": b"  ", "tab only": b"\t", "control": b";\x01", "unclosed quote": b';a="b',
    "request inside": b";\nGET /api/smuggled HTTP/1.1\n\n", "non-ascii": b";\xe9",
}  # fmt: skip
ENDS: dict[str, bytes] = {
    "no crlf after the data": b"5\r\nhello0\r\n\r\n",
    "lf after the data": b"5\r\nhello\n0\r\n\r\n",
    "cr after the data": b"5\r\nhello\r0\r\n\r\n",
    "two bytes after the data": b"5\r\nhelloXX0\r\n\r\n",
    "data too long": b"3\r\nhello\r\n0\r\n\r\n",
    "data too short": b"7\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "lf after the size": b"5\nhello\r\n0\r\n\r\n",
    "cr after the size": b"5\rhello\r\n0\r\n\r\n",
    "lf cr after the size": b"5\n\rhello\r\n0\r\n\r\n",
    "lf after the last size": b"5\r\nhello\r\n0\n\r\n",
    "cr after the last size": b"5\r\nhello\r\n0\r\r\n",
    "lf for the end": b"5\r\nhello\r\n0\r\n\n",
    "lf lf for the end": b"5\r\nhello\r\n0\n\n",
    "cr for the end": b"5\r\nhello\r\n0\r\n\r" + SMUGGLED,
    "cr cr for the end": b"5\r\nhello\r\n0\r\r" + SMUGGLED,
    "no end": b"5\r\nhello\r\n" + SMUGGLED,
    "no last chunk but an empty line": b"5\r\nhello\r\n\r\n" + SMUGGLED,
    "a request instead of the end": b"5\r\nhello\r\n0\r\n" + SMUGGLED,
    "a word for the end": b"5\r\nhello\r\nend\r\n\r\n",
    "empty first line": b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "all lf": b"5\nhello\n0\n\n",
}
GOOD_ENDS: dict[str, bytes] = {
    "one chunk": chunked(b"hello"),
    "two chunks": chunked(b"hel", b"lo"),
    "no data": chunked(),
    "zeros for the end": b"5\r\nhello\r\n0000\r\n\r\n",
    "capital digits": b"A\r\n0123456789\r\n0\r\n\r\n",
}
TRAILERS: dict[str, bytes] = {
    "one": b"x-trailer: 1\r\n",
    "content-length": b"content-length: 40\r\n",
    "transfer-encoding": b"transfer-encoding: chunked\r\n",
    "x-user-id": b"x-user-id: 666\r\n",
    "host": b"host: evil.test\r\n",
    "authorization": b"authorization: Bearer 0123456789abcdef0123456789abcdef\r\n",
    "space before colon": b"x-trailer : 1\r\n",
    "no colon": b"trailer\r\n",
    "folded": b"x-trailer: 1\r\n 2\r\n",
    "lf": b"x-trailer: 1\n",
    "cr": b"x-trailer: 1\rx-user-id: 666\r\n",
    "nul": b"x-trailer: \x00\r\n",
    "a request": SMUGGLED[:-2],
    "many": b"".join(b"x-%d: 1\r\n" % number for number in range(300)),
    "long": b"x-trailer: " + b"a" * 30000 + b"\r\n",
}


def payloads() -> Iterator[Payload]:
    """The corpus, in its order."""
    yield from _conflicting()
    yield from _transfer_encodings()
    yield from _lengths()
    yield from _chunks()
    yield from head_payloads()


def _conflicting() -> Iterator[Payload]:
    body = INNER_CHUNKED
    both = {
        "CL.TE": (CL % len(body), TE),
        "TE.CL": (TE, CL % 4),
        "CL.TE, length of the first chunk": (CL % 5, TE),
        "CL.TE, no length": (CL % 0, TE),
        "TE.CL, no length": (TE, CL % 0),
        "CL.TE.CL": (CL % 5, TE, CL % len(body)),
        "TE.CL.TE": (TE, CL % 5, TE),
        "TE far from CL": (TE, *(b"x-%d: 1" % n for n in range(40)), CL % 5),
        "connection names CL": (b"connection: content-length", CL % len(body), TE),
        "connection names TE": (b"connection: transfer-encoding", CL % len(body), TE),
        "connection: close": (b"connection: close", CL % len(body), TE),
        "upgrade": (b"connection: upgrade", b"upgrade: h2c", CL % len(body), TE),
        "expect": (b"expect: 100-continue", CL % len(body), TE),
    }
    for name, lines in both.items():
        yield Payload("CL and TE together", name, framed(*lines, body=body))
    for method in (b"GET", b"HEAD", b"DELETE", b"PUT", b"PATCH"):
        start = method + b" /noetl/things HTTP/1.1"
        yield Payload("CL and TE together", method.decode(), head(start, CL % len(body), TE) + body)
    for version in (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9"):
        start = b"POST /noetl/things " + version
        yield Payload("CL and TE together", version.decode(), head(start, CL % len(body), TE) + body)
    for (one, first), (other, second) in (
        (a, b)
        for a in (("5", CL % 5), ("0", CL % 0), ("40", CL % 40))
        for b in (("5", CL % 5), ("0", CL % 0), ("6", CL % 6))
    ):
        data = framed(first, second, body=b"hello" + SMUGGLED)
        yield Payload("two CL", f"{one} and {other}", data)
    yield Payload("two CL", "5 and +5", framed(CL % 5, b"content-length: +5", body=b"hello"))
    yield Payload("two CL", "5 and nothing", framed(CL % 5, b"content-length:", body=b"hello"))
    yield Payload(
        "two CL", "a look-alike with an underscore", framed(CL % 5, b"content_length: 0", body=b"hello"), Must.ONE
    )
    yield Payload("two CL", "a look-alike with a space", framed(CL % 5, b"content-length : 0", body=b"hello"))


def _transfer_encodings() -> Iterator[Payload]:
    for name, line in TE_SPELLINGS.items():
        known = name in _NO_FIELD
        alone = Must.ONE if name in _ORDINARY else Must.ANY if known else Must.REFUSED
        yield Payload("TE spelled oddly", name, framed(line, body=chunked(b"hello")), alone)
        body = INNER_CHUNKED
        with_length = Must.ONE if known and name != "content-encoding" else Must.ANY if known else Must.REFUSED
        yield Payload("TE spelled oddly, beside CL", name, framed(CL % len(body), line, body=body), with_length)


def _lengths() -> Iterator[Payload]:
    for name, value in LENGTHS.items():
        yield Payload("CL spelled oddly", name, framed(b"content-length: " + value, body=b"hello" + SMUGGLED))
    for name, value in GOOD_LENGTHS.items():
        yield Payload("CL spelled in its ways", name, framed(b"content-length: " + value, body=b"hello"), Must.ONE)
    odd = (b"Content-Length", b"CONTENT-LENGTH", b"cOnTeNt-LeNgTh")
    for field in odd:
        yield Payload("CL spelled in its ways", field.decode(), framed(field + b": 5", body=b"hello"), Must.ONE)
    for name, line in {
        "space before colon": b"content-length : 5", "tab before colon": b"content-length\t: 5",
        "leading space": b" content-length: 5", "nul in name": b"content\x00-length: 5", "no colon": b"content-length 5",
        "two colons": b"content-length:: 5", "cr in name": b"content-length\r: 5",
    }.items():  # fmt: skip
        yield Payload("CL spelled oddly", f"name: {name}", framed(line, body=b"hello" + SMUGGLED))
    yield Payload("CL and less body", "1 byte short", framed(CL % 6, body=b"hello"), Must.ANY)
    yield Payload("CL and less body", "a request short", framed(CL % (5 + len(SMUGGLED)), body=b"hello"), Must.ANY)
    yield Payload("CL and more body", "a request more", framed(CL % 5, body=b"hello" + SMUGGLED), Must.ANY)
    yield Payload("CL and more body", "one byte more", framed(CL % 5, body=b"helloX"), Must.ANY)
    yield Payload("CL and more body", "a line end more", framed(CL % 5, body=b"hello\r\n"), Must.ANY)
    yield Payload("CL and more body", "many line ends more", framed(CL % 5, body=b"hello" + b"\r\n" * 50), Must.ANY)
    yield Payload("CL and more body", "no CL at all", framed(body=SMUGGLED), Must.ANY)


def _chunks() -> Iterator[Payload]:
    for name, size in CHUNK_SIZES.items():
        yield Payload("chunk size", name, framed(TE, body=size + b"\r\nhello\r\n0\r\n\r\n"))
    for name, size in GOOD_SIZES.items():
        yield Payload("chunk size in its ways", name, framed(TE, body=size + b"\r\nhello\r\n0\r\n\r\n"), Must.ONE)
    for name, extension in EXTENSIONS.items():
        body = b"5" + extension + b"\r\nhello\r\n0\r\n\r\n"
        yield Payload("chunk extension", name, framed(TE, body=body), Must.ANY)
        body = b"5\r\nhello\r\n0" + extension + b"\r\n\r\n"
        yield Payload("chunk extension", f"{name}, at the last chunk", framed(TE, body=body), Must.ANY)
    for name, body in ENDS.items():
        yield Payload("chunk terminator", name, framed(TE, body=body))
    for name, body in GOOD_ENDS.items():
        yield Payload("chunk terminator in its ways", name, framed(TE, body=body), Must.ONE)
    for name, trailers in TRAILERS.items():
        yield Payload("trailers", name, framed(TE, body=chunked(b"hello", trailers=trailers)), Must.ANY)


if __name__ == "__main__":
    for payload in payloads():
        print(payload.group, payload.name, payload.data, sep="\t")
