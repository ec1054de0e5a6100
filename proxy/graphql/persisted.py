"""Which document a request means: its text, a trusted document, or one that was persisted by its hash. Pure.

Where documents are trusted, no other text runs, whatever it hashes to. Automatic persisted queries follow Apollo's
protocol: a hash that is not known is told so, the client sends text and hash once, and from then on the hash alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

from proxy.graphql.documents import Documents, Invalid, Operation, refusal
from proxy.graphql.http import GraphqlRequest

ENTRY = 256
"""Bytes that a kept document counts beside its text."""
_SHARE = 4


class Library(Protocol):
    """Finds the documents that requests mean."""

    def known(self, text: str) -> Operation | None:
        """The ready operation of a text that may run, if it is kept."""

    def find(self, wanted: GraphqlRequest, who: object) -> Operation | Invalid:
        """The ready operation of the document that a request of somebody means."""


class AnyDocuments:
    """Any valid document may run; with `persisted` by its hash too."""

    def __init__(self, documents: Documents, persisted: PersistedQueries | None) -> None:
        self._documents = documents
        self._persisted = persisted

    def known(self, text: str) -> Operation | None:
        """The ready operation of a text, if it is kept."""
        return self._documents.known(text)

    def find(self, wanted: GraphqlRequest, who: object) -> Operation | Invalid:
        """The ready operation; a text that comes with its hash is kept for that, if it is valid."""
        if wanted.query is None:
            if self._persisted is None:
                return refusal("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
            text = self._persisted.get(wanted.hash or "")
            if text is None:
                return refusal("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
            return self._documents.get(text)
        found = self._documents.get(wanted.query)
        if self._persisted is not None and wanted.hash is not None and isinstance(found, Operation):
            self._persisted.keep(wanted.hash, wanted.query, who)
        return found


class TrustedDocuments:
    """Only these run, by their hash or by their very text."""

    def __init__(self, by_hash: Mapping[str, Operation], by_text: Mapping[str, Operation]) -> None:
        self._by_hash = by_hash
        self._by_text = by_text

    def known(self, text: str) -> Operation | None:
        """The ready operation of a trusted text."""
        return self._by_text.get(text)

    def find(self, wanted: GraphqlRequest, who: object) -> Operation | Invalid:
        """The ready operation of a trusted document."""
        by_text = wanted.query is not None
        found = self._by_text.get(wanted.query or "") if by_text else self._by_hash.get(wanted.hash or "")
        return found or refusal("The document is not one of those that this gateway trusts", "DOCUMENT_NOT_TRUSTED")


class PersistedQueries:
    """Texts by their hash, at most `size` bytes of them: those not used for longest go first.

    Nobody takes more than a quarter: whoever keeps more loses what they used least themselves, so that no one can push
    out what others keep.
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
        """The text of a hash."""
        known = self._texts.get(key)
        if known is None:
            return None
        text, who = known
        self._texts.move_to_end(key)
        self._owned[who].move_to_end(key)
        return text

    def keep(self, key: str, text: str, who: object) -> None:
        """Keep a text under its hash, on the account of whoever sent it first."""
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
