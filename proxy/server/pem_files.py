"""What is wrong with the two files of a server certificate, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_MAX_FILE = 1024 * 1024
_CERTIFICATE, _KEY = b"BEGIN CERTIFICATE", b"PRIVATE KEY-----"


def pem_problems(certificate: Path, key: Path) -> Iterator[tuple[str, str]]:
    """Yield each problem of a certificate and its key: `certificate` or `key`, and what is wrong with that file."""
    contents: dict[str, bytes] = {}
    for name, file in (("certificate", certificate), ("key", key)):
        try:
            contents[name] = _read(file)
        except OSError as error:
            yield name, f"{file} can't be read: {(error.strerror or str(error)).lower()}"
    if len(contents) < 2:
        return
    chain, secret = contents["certificate"], contents["key"]
    if _KEY in chain and _CERTIFICATE not in chain and _CERTIFICATE in secret and _KEY not in secret:
        yield "certificate", f"{certificate} is the key, and {key} the certificate: swap the two"
        return
    yield from (("certificate", f"{certificate} {text}") for text in _certificate_problems(chain))
    yield from (("key", f"{key} {text}") for text in _key_problems(secret))
    known = _public_of_certificate(chain), _public_of_key(secret)
    if None not in known and known[0] != known[1]:
        yield "key", f"{key} does not belong to the certificate in {certificate}"


def expiry_of(certificate: Path) -> float:
    """Return when the first certificate of a file expires, in seconds since 1970. Raises OSError or ValueError."""
    return x509.load_pem_x509_certificates(_read(certificate))[0].not_valid_after_utc.timestamp()


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MAX_FILE)


def _certificate_problems(content: bytes) -> Iterator[str]:
    if _CERTIFICATE not in content:
        yield "contains no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
    elif _public_of_certificate(content) is None:
        yield "contains a certificate that can't be read; is it cut off?"


def _key_problems(content: bytes) -> Iterator[str]:
    if _KEY not in content:
        yield "contains no private key in PEM form (-----BEGIN PRIVATE KEY-----)"
    elif _has_password(content):
        yield "has a password; remove it, and make the file readable only by the gateway's user"
    elif _public_of_key(content) is None:
        yield "contains a key that can't be read; is it cut off?"


def _has_password(content: bytes) -> bool:
    try:
        load_pem_private_key(content, None)
    except TypeError:
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return False


def _public_of_certificate(content: bytes) -> bytes | None:
    """Return the public key of the first certificate; None if it can't be read."""
    try:
        found = x509.load_pem_x509_certificates(content)[0].public_key()
        return found.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, IndexError, UnsupportedAlgorithm):
        return None


def _public_of_key(content: bytes) -> bytes | None:
    """Return the public key of a private key; None if it can't be read."""
    try:
        found = load_pem_private_key(content, None).public_key()
        return found.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
