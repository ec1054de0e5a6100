"""Where the key set of an issuer is (OpenID Connect Discovery 1.0, 4). Pure: it reads a document, and fetches nothing.

The document is believed only if it is about the very issuer, and names a key set that is protected as the issuer is.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from proxy.http.origin import is_loopback


def same_issuer(issuer: str, other: str) -> bool:
    """Return True if two issuers are equal, but for one slash at the end."""
    return issuer.removesuffix("/") == other.removesuffix("/")


def well_known(issuer: str, name: str) -> str:
    """Return the URL of a document of an issuer, which is below the issuer's path (4.1)."""
    return f"{issuer.removesuffix('/')}/.well-known/{name}"


def read_discovery(data: bytes, issuer: str) -> str:
    """Return the URL of the key set in a discovery document.

    Raises:
        ValueError: the document is malformed, is about another issuer (4.3), or has no acceptable `jwks_uri`.
    """
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("not a discovery document")
    stated, url = document.get("issuer"), document.get("jwks_uri")
    if not isinstance(stated, str) or not same_issuer(stated, issuer):
        raise ValueError(f"it is about issuer {_short(stated)}, and not about {issuer}")
    if not isinstance(url, str) or not _is_acceptable(url, issuer):
        raise ValueError(f"its jwks_uri is {_short(url)}, which is not an https URL")
    return url


def _is_acceptable(url: str, issuer: str) -> bool:
    """Return True for an https URL; for a sandbox, which is plain http, also for one on this machine."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 - raises for a bad port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and issuer.startswith("http:") and is_loopback(host))


def _short(value: object) -> str:
    return ascii(value)[:200]
