"""Proofs of possession (RFC 9449): tokens are bound to a key of the client, which each request proves to have."""

from __future__ import annotations

import hashlib
import hmac
import random
import re
from typing import Any
from urllib.parse import urlsplit

import jwt

from mock_server.messages import Request

from .jws import to_json
from .keys import b64url
from .messages import Headers, OAuthError, origin
from .state import Clock, Table

ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA")
_PROOF_SECONDS = 300
_MAX_PROOF = 8_192
_REQUIRED = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_JTI = re.compile(r"[\x21-\x7e]{1,256}")


class Nonces:
    """The nonces of a tenant; each is valid in two periods. They are computed, so they need no memory."""

    def __init__(self, clock: Clock, source: random.Random) -> None:
        self._clock = clock
        self._secret = source.randbytes(32)

    def current(self, period: int) -> str:
        """Return the nonce of this period, in seconds."""
        return self._nonce(int(self._clock.now()) // period)

    def accepts(self, nonce: str, period: int) -> bool:
        """Return True for the nonce of this period or of the last one."""
        number = int(self._clock.now()) // period
        return any(hmac.compare_digest(self._nonce(each), nonce) for each in (number, number - 1))

    def _nonce(self, number: int) -> str:
        return b64url(hmac.digest(self._secret, str(number).encode(), "sha256")[:18])


class Proofs:
    """The verifier of proofs; each proof is accepted once."""

    def __init__(self, issuer: str, clock: Clock, source: random.Random) -> None:
        self._issuer = issuer
        self._clock = clock
        self._used: Table[bool] = Table(clock, source)
        self.nonces = Nonces(clock, source)

    def thumbprint(self, request: Request, *, period: int | None, access_token: str | None = None) -> str | None:
        """Return the thumbprint of the key that a request proves to have; None without a proof.

        Args:
            request: the request.
            period: how long a nonce is valid, in seconds; None: proofs need no nonce.
            access_token: the token that the proof must be for, at a resource (RFC 9449, 4.3).

        Raises:
            OAuthError: the proof is invalid, or needs a nonce.
        """
        proof = request.headers.get("dpop")
        if proof is None:
            return None
        resource = access_token is not None
        try:
            claims, jkt = self._verified(proof)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise _error(resource, "invalid_dpop_proof", "Invalid DPoP proof") from None
        if claims.get("htm") != request.method or not self._names(claims.get("htu"), request):
            raise _error(resource, "invalid_dpop_proof", "The DPoP proof is for another request")
        if access_token is not None and claims.get("ath") != _hash(access_token):
            raise _error(resource, "invalid_dpop_proof", "The DPoP proof is for another access token")
        self._check_fresh(claims, period, resource=resource)
        if self._used.get(f"{jkt} {claims['jti']}"):
            raise _error(resource, "invalid_dpop_proof", "The DPoP proof was used before")
        self._used.put(f"{jkt} {claims['jti']}", True, 2.0 * (period or _PROOF_SECONDS))
        return jkt

    def nonce_header(self, period: int) -> Headers:
        """Return the header that tells the client the nonce to use next (RFC 9449, 8.2)."""
        return (("DPoP-Nonce", self.nonces.current(period)),)

    def _check_fresh(self, claims: dict[str, Any], period: int | None, *, resource: bool) -> None:
        """Raise OAuthError for an old proof. With a nonce, the clock of the client does not matter."""
        if period is None:
            if abs(self._clock.now() - float(claims["iat"])) > _PROOF_SECONDS:
                raise _error(resource, "invalid_dpop_proof", "The DPoP proof is too old")
            return
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not nonce.isascii() or not self.nonces.accepts(nonce, period):
            text = "Authorization server requires nonce in DPoP proof"
            raise _error(resource, "use_dpop_nonce", text, self.nonce_header(period))

    def _verified(self, proof: str) -> tuple[dict[str, Any], str]:
        if len(proof) > _MAX_PROOF:
            raise ValueError("too large")
        header = jwt.get_unverified_header(proof)
        key = header["jwk"]
        if header.get("typ") != "dpop+jwt" or not isinstance(key, dict) or "d" in key or "k" in key:
            raise ValueError("not a proof with a public key")
        options: Any = {"verify_aud": False, "verify_iat": False, "verify_exp": False, "verify_nbf": False}
        claims = jwt.decode(proof, jwt.PyJWK.from_dict(key, header["alg"]), algorithms=ALGORITHMS, options=options)
        if not isinstance(claims.get("jti"), str) or not _JTI.fullmatch(claims["jti"]):
            raise ValueError("no jti")
        if not isinstance(claims.get("iat"), int | float):
            raise ValueError("no iat")
        required = {name: key[name] for name in _REQUIRED[key["kty"]]}
        canonical = to_json(dict(sorted(required.items())))
        return claims, b64url(hashlib.sha256(canonical).digest())

    def _names(self, htu: object, request: Request) -> bool:
        """Return True if `htu` is the address of the request, by the issuer or by the Host header.

        The query, the fragment, the case of scheme and host, and the usual port do not matter (RFC 9449, 4.3).
        """
        if not isinstance(htu, str):
            return False
        found = origin(htu)
        here = {origin(self._issuer), origin(f"{request.scheme}://{request.host}")}
        return found is not None and found in here and (urlsplit(htu).path or "/") == request.path


def _hash(token: str) -> str:
    return b64url(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())


def _error(resource: bool, error: str, text: str, headers: Headers = ()) -> OAuthError:
    if not resource:
        return OAuthError(400, error, text, headers=headers)
    algorithms = " ".join(ALGORITHMS)
    challenge = ("WWW-Authenticate", f'DPoP error="{error}", error_description="{text}", algs="{algorithms}"')
    return OAuthError(401, error, text, headers=(challenge, *headers))
