"""Why a server could not be reached, in a few words that name no address. Pure."""

from __future__ import annotations

import os
import socket
import ssl


def cause_of(error: BaseException) -> str:
    """Return the cause of a failed connection, such as `connection refused`."""
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message.lower()}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'no reason').lower().replace('_', ' ')}"
    if isinstance(error, socket.gaierror):
        return "its name does not resolve"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    nested = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return cause_of(nested[0]) if nested else "no connection"
