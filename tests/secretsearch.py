"""Looks for secrets in what comes out of a run: as they are, and in the forms that texts take on the way.

A secret is found plain, in Base64 wherever it begins (both alphabets), percent-encoded, in hexadecimal and as JSON
escapes it. What is shorter than eight characters is refused: it would be found by chance.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

SHORTEST = 8
_KEY = 8
_LITTLE = 4096


def forms(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """The forms of a secret, each with its name."""
    yield "plain", secret
    yield "hexadecimal", secret.hex().encode()
    yield "percent-encoded", quote(secret, safe="").encode()
    yield "form-encoded", quote_plus(secret, safe="").encode()
    yield "percent-encoded in whole", b"".join(b"%%%02X" % byte for byte in secret)
    for ascii_only in (True, False):
        yield "JSON", json.dumps(secret.decode("utf-8", "replace"), ensure_ascii=ascii_only)[1:-1].encode()
    yield "repr", repr(secret)[2:-1].encode()
    for before in range(3):
        text = base64.b64encode(b"\x00" * before + secret)
        skipped, whole = (0, 2, 3)[before], (before + len(secret)) * 8 // 6
        yield "Base64", text[skipped:whole]
        yield "Base64 for urls", text[skipped:whole].translate(bytes.maketrans(b"+/", b"-_"))


@dataclass(slots=True)
class Search:
    """The secrets of a run, and what came out of it while it was `listening`."""

    listening: bool = True
    names: dict[bytes, str] = field(default_factory=dict)
    places: list[tuple[str, bytes]] = field(default_factory=list)
    _forms: dict[bytes, list[tuple[bytes, str]]] = field(default_factory=dict)

    def used(self, secret: str | bytes, name: str) -> None:
        """A secret was given or made. Raises ValueError if it is too short to be looked for."""
        raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
        if len(raw) < SHORTEST:
            raise ValueError(f"{name} is too short to be looked for")
        if raw in self.names:
            return
        self.names[raw] = name
        distinct: dict[bytes, str] = {}
        for kind, form in forms(raw):
            distinct.setdefault(form, kind)
        for form, kind in distinct.items():
            self._forms.setdefault(form[:_KEY], []).append((form, f"{name}, {kind}"))

    def came_out(self, where: str, data: str | bytes) -> None:
        """Something came out, and is to be searched."""
        if data and self.listening:
            self.places.append((where, data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data))

    @property
    def size(self) -> int:
        """How many bytes came out."""
        return sum(len(data) for _, data in self.places)

    def found(self) -> list[str]:
        """Which secrets came out, and where; never the secrets themselves."""
        told = {f"{name}: in {where}" for where, data in self.places for name in self._in(data)}
        return sorted(told)

    def _in(self, data: bytes) -> Iterator[str]:
        for key in self._keys_in(data):
            for form, name in self._forms[key]:
                if form in data:
                    yield name

    def _keys_in(self, data: bytes) -> set[bytes]:
        """How the forms begin that are perhaps there."""
        if len(self._forms) < _LITTLE and len(data) > _LITTLE * len(self._forms):
            return {key for key in self._forms if key in data}
        return {data[at : at + _KEY] for at in range(len(data) - _KEY + 1)} & self._forms.keys()

    def forget_places(self) -> None:
        """Search no more in what came out so far."""
        self.places.clear()


RUN = Search(listening=False)
"""The secrets of the tests in this process; the attack tests have it listen."""
