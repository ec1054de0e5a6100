"""Look up the document of a request: by its text, as a trusted document, or as a persisted query. Pure.

If trusted documents are configured, no other document runs. Automatic persisted queries follow Apollo's protocol: an
unknown hash gets the error `PersistedQueryNotFound`, the client sends text and hash once, and then only the hash.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

from proxy.graphql.documents import Documents, Invalid, Operation, rejection
from proxy.graphql.http import GraphqlRequest

ENTRY = 256
"""The fixed weight of a cached text, in bytes, in addition to its length."""
_SHARE = 4


class Library(Protocol):
    """The documents that requests can refer to."""

    def known(self, text: str) -> Operation | None:
        """Return the cached operation of a text that may run; None if there is none."""

    def find(self, wanted: GraphqlRequest, who: object) -> Operation | Invalid:
        """Return the operation of a request's document, or its errors; `who` identifies the user."""


class AnyDocuments:
    """A library in which any valid document may run, also by its hash if `persisted` is given."""

    def __init__(self, documents: Documents, persisted: PersistedQueries | None) -> None:
        self._documents = documents
        self._persisted = persisted

    def known(self, text: str) -> Operation | None:
        """Return the cached operation of a text; None if it is not cached."""
        return self._documents.known(text)

    def find(self, wanted: GraphqlRequest, who: object) -> Operation | Invalid:
        """Return the operation, or its errors. A valid text that is sent with its hash is stored under that hash."""
        if wanted.query is None:
            if self._persisted is None:
                return rejection("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
            text = self._persisted.get(wanted.hash or "")
            if text is None:
                return rejection("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
            return self._documents.get(text)
        found = self._documents.get(wanted.query)
        if self._persisted is not None and wanted.hash is not None and isinstance(found, Operation):
            self._persisted.store(wanted.hash, wanted.query, who)
        return found


class TrustedDocuments:
    """A library in which only these documents may run, by their hash or by their exact text."""

    def __init__(self, by_hash: Mapping[str, Operation], by_text: Mapping[str, Operation]) -> None:
        self._by_hash = by_hash
        self._by_text = by_text

    def known(self, text: str) -> Operation | None:
        """Return the operation of a trusted text; None if it is not trusted."""
        return self._by_text.get(text)

    def find(self, wanted: GraphqlRequest, who: object) -> Operation | Invalid:
        """Return the operation of a trusted document, or an error."""
        by_text = wanted.query is not None
        found = self._by_text.get(wanted.query or "") if by_text else self._by_hash.get(wanted.hash or "")
        return found or rejection("The document is not one of those that this gateway trusts", "DOCUMENT_NOT_TRUSTED")


class PersistedQueries:
    """A cache of texts by their hash, of at most `size` bytes. The least recently used text is removed first.

    One user can fill at most a quarter of the cache. Beyond that, the user's own least recently used text is removed,
    so that no user can displace the texts of all others.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._share = size // _SHARE
        self._texts: OrderedDict[str, tuple[str, object]] = OrderedDict()
        self._owned: dict[object, OrderedDict[str, int]] = {}
        self._used: dict[object, int] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, key: str) -> str | None:
        """Return the text of a hash; None if it is not cached."""
        known = self._texts.get(key)
        if known is None:
            return None
        text, who = known
        self._texts.move_to_end(key)
        self._owned[who].move_to_end(key)
        return text

    def store(self, key: str, text: str, who: object) -> None:
        """Store a text under its hash, and count it for the user who sent it first."""
        weight = len(text.encode("utf-8", "surrogatepass")) + ENTRY
        if self.get(key) is not None or weight > self._share:
            return
        while self._used.get(who, 0) + weight > self._share:
            self._drop(next(iter(self._owned[who])))
        while self.bytes + weight > self._size:
            self._drop(next(iter(self._texts)))
        self._texts[key] = text, who
        self._owned.setdefault(who, OrderedDict())[key] = weight
        self._used[who] = self._used.get(who, 0) + weight
        self.bytes += weight

    def _drop(self, key: str) -> None:
        _, who = self._texts.pop(key)
        weight = self._owned[who].pop(key)
        self.bytes -= weight
        self._used[who] -= weight
        if not self._owned[who]:
            del self._owned[who], self._used[who]
