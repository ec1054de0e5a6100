"""What all tests share: figures that a test wants to be seen stand at the end of the run."""

from __future__ import annotations

import importlib
import logging
import secrets
import ssl
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import structlog

from mock_pytest import MockAuth0, MockNoetl
from mock_pytest.running import in_process
from proxy.observe import logs
from proxy.sessions.redis.address import read_address
from proxy.sessions.redis.connection import RedisSettings
from tests.attack.table import PROPERTY, SEARCHED, searched, table
from tests.redis_server import RedisServer, wanted

SHOWN = "shown"


def pytest_configure() -> None:
    """Have httpx read the system's authorities once for all clients of a process: each time takes 20 ms of CPU."""
    transports: Any = importlib.import_module("httpx._transports.default")
    read = transports.create_ssl_context
    once = cache(read)

    def create(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        found: ssl.SSLContext = (once if verify is True and cert is None else read)(verify, cert, trust_env)
        return found

    transports.create_ssl_context = create


@pytest.fixture
def show(record_property: Any) -> Any:
    """A function that has a line printed in the summary of the run, also when tests run in several processes."""

    def shown(line: str) -> None:
        record_property(SHOWN, line)

    return shown


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis, or a Valkey, for the tests of this process; each test uses a prefix of its own."""
    server = RedisServer(wanted())
    server.start()
    yield server
    server.remove()


@pytest.fixture
def redis_settings(redis_server: RedisServer) -> RedisSettings:
    """The settings of an empty redis store."""
    return RedisSettings(read_address(redis_server.url), prefix=f"test-{secrets.token_hex(8)}:")


@pytest.fixture(scope="module")
def auth0_here() -> Iterator[MockAuth0]:
    """A sandbox Auth0 in this process."""
    with in_process("mock_auth0", []) as url:
        mock = MockAuth0(url)
        yield mock
        mock.close()


@pytest.fixture(scope="module")
def noetl_here() -> Iterator[MockNoetl]:
    """A sandbox NoETL in this process."""
    with in_process("mock_noetl", []) as url:
        mock = MockNoetl(url)
        yield mock
        mock.close()


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A test that sets the process's log up leaves it as it was: the next one's streams are others."""
    yield
    logs.configure("console", "info")
    structlog.reset_defaults()
    for name in ("aiohttp", "httpx"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the lines that tests asked for, and the table of the attack tests."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    told = [found for report in reports for found in report.user_properties]
    for line in sorted({str(value) for name, value in told if name == SHOWN}):
        terminalreporter.write_line(line)
    for line in table(value for name, value in told if name == PROPERTY):
        terminalreporter.write_line(line)
    ended = [r for r in terminalreporter.getreports("") + terminalreporter.getreports("error") if r.when == "teardown"]
    searches = [value for report in ended for name, value in report.user_properties if name == SEARCHED]
    for line in searched(searches):
        terminalreporter.write_line(line)
