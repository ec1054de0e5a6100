"""The release of aiohttp that the connection adapter is written for, its options, and what its parser's errors mean."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp.http_exceptions import LineTooLong

from proxy.config.model import ServerLimits
from proxy.errors import BadRequest, GatewayError, HeadTooLarge, UriTooLong

KNOWN_AIOHTTP = "3.14."
"""The releases of aiohttp whose inside `connection.py` relies on."""


_LINGER = 10.0


def handler_options(limits: ServerLimits) -> dict[str, Any]:
    """Return the arguments of aiohttp's RequestHandler for a connection with these limits."""
    return {
        "access_log": None,
        "keepalive_timeout": limits.idle_timeout,
        "max_line_size": limits.max_header_size,
        "max_field_size": limits.max_header_size,
        "max_headers": limits.max_headers,
        "lingering_time": min(_LINGER, limits.body_timeout),
        "auto_decompress": False,
    }


def _text(exc: BaseException | None) -> str:
    return str(getattr(exc, "message", exc or ""))


def parser_error(exc: BaseException | None) -> GatewayError:
    """What aiohttp's parser found, as one of our errors. It keeps the target, and nothing else, in a bytearray."""
    if isinstance(exc, LineTooLong):
        return UriTooLong() if isinstance(exc.args[0], bytearray) else HeadTooLarge()
    return HeadTooLarge() if "too many headers" in _text(exc).lower() else BadRequest("Malformed request")


class UnknownAiohttp(Exception):
    """The installed aiohttp is not a release that this module is written for."""


def check_aiohttp() -> None:
    """Raise UnknownAiohttp unless the installed aiohttp is one that is known."""
    if not aiohttp.__version__.startswith(KNOWN_AIOHTTP):
        raise UnknownAiohttp(
            f"aiohttp {aiohttp.__version__} is installed, and noetl-edge is written for {KNOWN_AIOHTTP}x; "
            f"run: pip install 'aiohttp=={KNOWN_AIOHTTP}*'"
        )
