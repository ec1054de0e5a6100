"""The user and the request for which calls to the upstream are made."""

from __future__ import annotations

from collections.abc import Hashable


class OnBehalf:
    """The user and the request for which calls to the upstream are made.

    `waited` is the total duration of the calls, in seconds; `received` is the size of their responses, in bytes.

    Args:
        identity: the lines of the identity headers, made by `http.identity_headers`.
        request_id: the id of the request.
        traceparent: the trace of the request.
        session: the key of the session.
        user: for whose share of the upstream's connections the calls count.
    """

    __slots__ = ("identity", "received", "request_id", "session", "traceparent", "user", "waited")

    def __init__(
        self, identity: bytes, request_id: bytes, traceparent: bytes, session: bytes, user: Hashable = None
    ) -> None:
        self.identity = identity
        self.request_id = request_id
        self.traceparent = traceparent
        self.session = session
        self.user = user
        self.waited = 0.0
        self.received = 0
