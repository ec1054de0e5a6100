"""The plugin: fixtures `auth0` and `noetl`, in this process, and `auth0_process` and `noetl_process`.

A sandbox is started once for the whole run, and reset before each test. Override `auth0_arguments` and
`noetl_arguments`, of session scope, to start them with other options of their command lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import pytest

from .mocks import Mock, MockAuth0, MockNoetl
from .running import as_process, in_process

MockT = TypeVar("MockT", bound=Mock)


@pytest.fixture(scope="session")
def auth0_arguments() -> Sequence[str]:
    """Options of `python -m mock_auth0`, such as `["--generate-users", "100"]`."""
    return []


@pytest.fixture(scope="session")
def noetl_arguments() -> Sequence[str]:
    """Options of `python -m mock_noetl`, such as `["--dialect", "rust"]`."""
    return []


@pytest.fixture(scope="session")
def _auth0_here(auth0_arguments: Sequence[str]) -> Iterator[MockAuth0]:
    with in_process("mock_auth0", auth0_arguments) as url:
        mock = MockAuth0(url)
        yield mock
        mock.close()


@pytest.fixture(scope="session")
def _noetl_here(noetl_arguments: Sequence[str]) -> Iterator[MockNoetl]:
    with in_process("mock_noetl", noetl_arguments) as url:
        mock = MockNoetl(url)
        yield mock
        mock.close()


@pytest.fixture(scope="session")
def _auth0_apart(auth0_arguments: Sequence[str]) -> Iterator[MockAuth0]:
    with as_process("mock_auth0", auth0_arguments) as url:
        mock = MockAuth0(url)
        yield mock
        mock.close()


@pytest.fixture(scope="session")
def _noetl_apart(noetl_arguments: Sequence[str]) -> Iterator[MockNoetl]:
    with as_process("mock_noetl", noetl_arguments) as url:
        mock = MockNoetl(url)
        yield mock
        mock.close()


def _fresh(mock: MockT) -> MockT:
    mock.reset()
    return mock


@pytest.fixture
def auth0(_auth0_here: MockAuth0) -> MockAuth0:
    """A sandbox Auth0 in a thread of this process, reset before the test."""
    return _fresh(_auth0_here)


@pytest.fixture
def noetl(_noetl_here: MockNoetl) -> MockNoetl:
    """A sandbox NoETL in a thread of this process, reset before the test."""
    return _fresh(_noetl_here)


@pytest.fixture
def auth0_process(_auth0_apart: MockAuth0) -> MockAuth0:
    """A sandbox Auth0 as a process of its own, reset before the test."""
    return _fresh(_auth0_apart)


@pytest.fixture
def noetl_process(_noetl_apart: MockNoetl) -> MockNoetl:
    """A sandbox NoETL as a process of its own, reset before the test."""
    return _fresh(_noetl_apart)
