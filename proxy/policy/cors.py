"""Cross-origin decisions (Fetch standard, 3.2): which origins may read a response, and the preflight headers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.http.origin import read_origin

Headers = tuple[tuple[str, str], ...]

_ORIGIN = re.compile(r"(https?)://(\*\.)?([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class OriginError(ValueError):
    """A malformed origin in the configuration."""


def check_origin(text: str) -> None:
    """Raise OriginError unless `text` is `*` or `scheme://host[:port]`; the first label of the host may be `*`."""
    if text == "*":
        return
    found = _ORIGIN.fullmatch(text)
    if found is None:
        raise OriginError(
            "an origin is scheme://host[:port] in lower case, without a path; * is allowed as the first label only"
        )
    if found[4] == _DEFAULT_PORTS[found[1]]:
        raise OriginError(f"browsers omit the default port :{found[4]}; remove it")
    if found[2] and "." not in found[3]:
        raise OriginError("a wildcard must be followed by a domain with at least two labels")


@dataclass(frozen=True, slots=True, eq=False)
class CorsPolicy:
    """The compiled `cors` block, with headers that are built once.

    Args:
        any_origin: `*` is an allowed origin.
        origins: the exact origins.
        wildcards: the patterns of origins with a wildcard.
        allow_credentials: browsers may send credentials.
        preflight: headers of a preflight response.
        simple: headers of other responses.
        allow_private_network: private-network preflight requests are allowed.
    """

    any_origin: bool
    origins: frozenset[str]
    wildcards: tuple[re.Pattern[str], ...]
    allow_credentials: bool
    preflight: Headers
    simple: Headers
    allow_private_network: bool

    def allows(self, origin: str) -> bool:
        """Return whether the origin may read responses. `null` never may, unless it is listed."""
        return self.names(origin) or (self.any_origin and origin != "null")

    def names(self, origin: str) -> bool:
        """Return whether the origin is listed, itself or by a `*` for its first label. `*` alone lists nobody."""
        if origin in self.origins:
            return True
        found = read_origin(origin)
        normal = origin if found is None else str(found)
        return normal in self.origins or any(pattern.fullmatch(normal) for pattern in self.wildcards)

    @property
    def varies(self) -> bool:
        """Whether responses depend on `Origin`, also where the origin is absent or refused: `vary` must name it."""
        return not self.any_origin or self.allow_credentials

    def response_headers(self, origin: str | None) -> Headers:
        """Return the fields that let a page of the origin read a response, but for `vary`."""
        if origin is None or not self.allows(origin):
            return ()
        return (("access-control-allow-origin", self._echo(origin)), *self.simple)

    def preflight_headers(self, origin: str, *, private_network: bool) -> Headers | None:
        """Return the headers of a preflight response; None if the origin is rejected."""
        if not self.allows(origin):
            return None
        extra = (("access-control-allow-private-network", "true"),)
        return (
            ("access-control-allow-origin", self._echo(origin)),
            *self.preflight,
            *(extra if private_network and self.allow_private_network else ()),
        )

    def _echo(self, origin: str) -> str:
        return "*" if self.any_origin and not self.allow_credentials else origin


def compile_cors(
    *,
    origins: tuple[str, ...],
    allow_credentials: bool,
    methods: tuple[str, ...],
    headers: tuple[str, ...],
    exposed: tuple[str, ...],
    max_age: float,
    allow_private_network: bool,
) -> CorsPolicy:
    """Return the compiled `cors` block. `max_age` is in seconds; the origins have passed `check_origin`."""
    credentials: Headers = (("access-control-allow-credentials", "true"),) if allow_credentials else ()
    expose: Headers = (("access-control-expose-headers", ", ".join(exposed)),) if exposed else ()
    return CorsPolicy(
        any_origin="*" in origins,
        origins=frozenset(origin for origin in origins if "*" not in origin),
        wildcards=tuple(_wildcard(origin) for origin in origins if "*." in origin),
        allow_credentials=allow_credentials,
        preflight=(
            *credentials,
            ("access-control-allow-methods", ", ".join(methods)),
            ("access-control-allow-headers", ", ".join(headers)),
            ("access-control-max-age", str(int(max_age))),
            ("vary", "origin, access-control-request-method, access-control-request-headers"),
        ),
        simple=(*credentials, *expose),
        allow_private_network=allow_private_network,
    )


def _wildcard(origin: str) -> re.Pattern[str]:
    scheme, _, rest = origin.partition("://*")
    return re.compile(re.escape(f"{scheme}://") + r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?" + re.escape(rest))
