"""The server certificate and its renewal: changed files are used from the next handshake on.

If a certificate can't be read or does not match its key, the error is logged and the certificate in use stays.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from proxy.config.model import Server, Tls
from proxy.observe.logs import get_logger
from proxy.server.file_watch import State, state_of
from proxy.server.pem_files import expiry_of, pem_problems

_EVERY = 5.0


class CertificateError(OSError):
    """The certificate or its key can't be used. The text names the files and the reason."""


class Certificate:
    """The TLS context of the server, for all connections of this process."""

    def __init__(self, block: Tls, folder: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.files: tuple[Path, Path] = (folder / block.certificate, folder / block.key)
        self._state: State = {}
        self.expires_at = 0.0
        """When the certificate in use expires, in seconds since 1970."""
        self._load(self.files)

    @classmethod
    def of(cls, block: Server, folder: Path) -> Certificate | None:
        """Return the certificate of a configuration; None if it has none. Paths are relative to `folder`.

        Raises:
            CertificateError: the certificate or its key can't be used.
        """
        return cls(block.tls, folder) if block.tls is not None else None

    def use(self, block: Tls, folder: Path) -> None:
        """Load the certificate again, from the same or other files.

        Raises:
            CertificateError: the files can't be used; the certificate in use stays.
        """
        self._load((folder / block.certificate, folder / block.key))

    def _load(self, files: tuple[Path, Path]) -> None:
        state = state_of(files)
        problems = list(pem_problems(*files))
        if problems:
            raise CertificateError("; ".join(f"server.tls.{key}: {text}" for key, text in problems))
        try:
            trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trial.load_cert_chain(*files, password=_no_password)
            self.context.load_cert_chain(*files, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            text = f"server.tls: {files[0]} and {files[1]} are not a certificate with its key"
            raise CertificateError(f"{text} ({getattr(error, 'reason', None) or error})") from None
        self.files, self._state, self.expires_at = files, state, expiry_of(files[0])

    async def watch(self) -> None:
        """Load the files again whenever they change, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            self.refresh()

    def refresh(self) -> bool:
        """Load the files again if they have changed. Return True if a new certificate is in use."""
        if state_of(self.files) == self._state:
            return False
        try:
            self._load(self.files)
        except CertificateError as error:
            self._state = state_of(self.files)
            get_logger().error("tls.rejected", reason=str(error))
            return False
        get_logger().info("tls.renewed", certificate=str(self.files[0]))
        return True


def _no_password() -> str:
    raise ValueError(
        "the key has a password; remove the password, and make the file readable only by the gateway's user"
    )
