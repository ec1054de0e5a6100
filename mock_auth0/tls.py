"""TLS: a certificate of an authority of its own, or a given one."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

NAMES = ("localhost", "127.0.0.1", "::1")
NOT_INSTALLED = "--tls needs trustme, which is not installed: pip install 'noetl-edge[mocks]'"


class TlsError(Exception):
    """TLS can't be used; the text says why, and what to do."""


def names_of(hosts: Iterable[str], issuers: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a certificate must have, for further hosts and for issuers."""
    named = [urlsplit(issuer).hostname or "" for issuer in issuers]
    return tuple(dict.fromkeys([*NAMES, *filter(None, hosts), *filter(None, named)]))


def own_authority(file: Path, names: tuple[str, ...]) -> ssl.SSLContext:
    """Return a context with a new certificate for these names, and write the certificate of its authority to a file.

    Raises:
        TlsError: trustme is not installed, or the file can't be written.
    """
    try:
        import trustme
    except ImportError:
        raise TlsError(NOT_INSTALLED) from None
    authority = trustme.CA(organization_name="mock_auth0 of noetl-edge")
    context = _context()
    authority.issue_cert(*map(_name, names)).configure_cert(context)
    if not file.parent.is_dir():
        raise TlsError(f"--tls-ca {file}: there is no folder {file.parent}: create it first")
    try:
        authority.cert_pem.write_to_path(str(file))
    except OSError as error:
        raise TlsError(f"--tls-ca {file}: {error.strerror}") from None
    return context


def given_certificate(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context with the certificate of a file. Raises TlsError."""
    context = _context()
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"--tls-cert {certificate}, --tls-key {key}: {error.strerror or error}") from None
    return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _name(text: str) -> str:
    """Return a host name as it stands in a certificate; an address is one already."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text.encode("idna").decode("ascii") if not text.isascii() else text
    return text
