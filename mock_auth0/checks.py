"""Checks of texts in the YAML file and in options: host names, URIs, issuers and keys. Each raises ValueError."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")


def email(text: str) -> str:
    """Return an e-mail address."""
    if "@" not in text:
        raise ValueError("must be an email address")
    return text


def host_name(text: str) -> str:
    """Return the host name of a tenant, to which the Host header of a request is compared without its port."""
    if not _is_host(text):
        raise ValueError("must be a host name without a scheme, a port, a path or *, such as b.localhost")
    return text


def uri(text: str) -> str:
    """Return an http or https URI."""
    parts = _web_address(text)
    if ":*" in parts.netloc:
        raise ValueError("must be a URI with a number as its port")
    return text


def allowed_uri(text: str) -> str:
    """Return an http or https URI of an allow-list, whose port may be `*`."""
    _web_address(text)
    return text


def redirect_uri(text: str) -> str:
    """Return an entry of the list of redirect URIs; native applications have schemes of their own (RFC 8252, 7.1)."""
    scheme = text.partition(":")[0]
    if scheme in {"http", "https"} or "." not in scheme or "#" in text:
        return allowed_uri(text)
    return text


def issuer(text: str) -> str:
    """Return an issuer with a slash at its end."""
    parts = urlsplit(uri(text))
    if parts.path not in {"", "/"} or parts.query or "@" in parts.netloc:
        raise ValueError("must be an http or https URI with a host and a port only, such as https://auth0.test/")
    return f"{parts.scheme}://{parts.netloc}/"


def public_key(text: str) -> str:
    """Return a public key in PEM that verifies client assertions."""
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    is_elliptic = isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    if not is_elliptic and not isinstance(key, RSAPublicKey):
        raise ValueError("must be a public key of RSA or P-256 in PEM, which begins with -----BEGIN PUBLIC KEY-----")
    return text


def _web_address(text: str) -> SplitResult:
    """Return the parts of an http or https URI; its port may be `*`."""
    wrong = ValueError("must be an http or https URI without a fragment")
    try:
        parts = urlsplit(text)
        plain = urlsplit(f"//{parts.netloc.removesuffix(':*')}")
        port, host = plain.port, plain.hostname or ""
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"http", "https"} or parts.fragment or port == 0 or not _is_host(host):
        raise wrong
    return parts


def _is_host(text: str) -> bool:
    if _HOST.fullmatch(text):
        return True
    try:
        return bool(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return False
