"""The document cache: what has been seen is not prepared again, and what is kept is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.graphql import documents as module
from proxy.graphql.documents import Documents, Invalid, Operation
from proxy.graphql.limits import DocumentLimits
from proxy.graphql.schema import make_schema

LIMITS = DocumentLimits(tokens=1000, depth=8, aliases=15, root_fields=10, directives=20, size=65536, cost=10000)


def documents(cache: int = 2) -> Documents:
    return Documents(make_schema(), LIMITS, cache=cache, suggestions=False)


def test_a_document_seen_before_is_neither_parsed_nor_validated_nor_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = documents()
    first = cache.get("{ version }")

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("prepared again")

    for name in ("parse", "validate_in_time", "make_plans", "check_limits"):
        monkeypatch.setattr(module, name, fail)
    assert cache.get("{ version }") is first
    assert cache.known("{ version }") is first


def test_the_document_not_used_for_longest_is_forgotten() -> None:
    cache = documents()
    for text in ("{ version }", "{ health }", "{ version }", "{ a: version }"):
        cache.get(text)
    assert cache.known("{ version }") is not None
    assert cache.known("{ health }") is None


def test_a_document_that_cannot_run_is_not_kept() -> None:
    cache = documents()
    assert isinstance(cache.get("{ nothing }"), Invalid)
    assert cache.known("{ nothing }") is None


@pytest.mark.parametrize("cache", [1, 2, 3])
def test_cache_holds_as_many_documents_as_configured(cache: int) -> None:
    kept = documents(cache)
    texts = ["{ version }", "{ health }", "{ me { userId } }", "{ playbooks { name } }"]
    for text in texts:
        assert isinstance(kept.get(text), Operation)
    assert sum(kept.known(text) is not None for text in texts) == cache


def test_with_a_cache_of_0_nothing_is_kept() -> None:
    cache = documents(0)
    assert isinstance(cache.get("{ version }"), Operation)
    assert cache.known("{ version }") is None


@pytest.mark.parametrize(
    "text", ["{ versio }", "{ me }", "{ me { emai } }", '{ playbook(nam: "a") { name } }', "{ ...On User }"]
)
def test_no_mistake_makes_a_suggestion(text: str) -> None:
    found = documents().get(text)
    assert isinstance(found, Invalid)
    assert [error.message for error in found.errors if "Did you mean" in error.message] == []
