"""The redis store with servers of each kind: Redis and Valkey, TLS, ACL users, Sentinel, replicas and a cluster."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.cli import cli
from proxy.sessions.redis.address import read_address
from proxy.sessions.redis.connection import RedisSettings
from proxy.sessions.redis.store import RedisStore
from proxy.sessions.store import Identity, Session, StoreError, new_session
from tests.integration.certificates import Authority
from tests.redis_server import REDIS, VALKEY, NoServer, RedisServer, free_port, installed, wanted

KEY = bytes(range(32))
PATIENCE = 30.0
PERMISSIONS = ("~noetl-edge:*", "&noetl-edge:*", "+@all", "-@admin", "-@dangerous", "+info")
"""What docs/scaling.md gives the ACL user."""
Start = Callable[..., RedisServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts a server with options."""
    with ExitStack() as opened:

        def run(*options: str, kind: str | None = None, sentinel: str = "") -> RedisServer:
            server = RedisServer(kind or wanted(), *options, sentinel=sentinel)
            opened.callback(server.remove)
            server.start()
            return server

        yield run


@asynccontextmanager
async def store_at(url: str, **more: object) -> AsyncIterator[RedisStore]:
    """A store that caches."""
    store = RedisStore(replace(RedisSettings(read_address(url)), **more))  # type: ignore[arg-type]
    store.start()
    try:
        yield store
    finally:
        await store.close()


def session(key: bytes = KEY) -> Session:
    """A session."""
    who = Identity("https://tenant.test/", "anna", "", "anna", "tenant.test")
    return new_session(key, who, now=time.time(), lifetime=600, ip="", user_agent="")


def key_number(number: int) -> bytes:
    """One of many keys."""
    return number.to_bytes(32, "little")


async def works(store: RedisStore) -> None:
    """Store a session, an event and a ticket, and end the session, which is announced."""
    await store.check()
    async with asyncio.timeout(PATIENCE):
        while not store.caches:  # noqa: ASYNC110 - the store has no such event
            await asyncio.sleep(0.01)
    made = await store.create(KEY, session(), max_per_user=1)
    assert await store.get(KEY) == made
    assert store.peek(KEY) == made
    await store.store_ticket(b"t" * 32, KEY, time.time() + 30)
    assert await store.redeem_ticket(b"t" * 32, time.time()) == KEY
    assert await store.live.open_client("c", 1, time.time()) == 1
    assert [found.user_id for found in await store.all(10)] == [1]
    assert await store.end(KEY)
    assert await store.get(KEY) is None


@pytest.mark.parametrize("kind", [REDIS, VALKEY])
async def test_redis_and_valkey(start: Start, kind: str) -> None:
    if kind not in installed():
        pytest.skip(f"no {kind} on this machine")
    async with store_at(start(kind=kind).url) as store:
        await works(store)
        assert await store.version() >= "7"


async def test_an_acl_user_with_the_documented_permissions(start: Start) -> None:
    server = start()
    server.ask("ACL", "SETUSER", "edge", "on", ">geheim", *PERMISSIONS)
    server.ask("ACL", "SETUSER", "default", "off")
    url = f"redis://edge:geheim@127.0.0.1:{server.port}"
    async with store_at(url) as store:
        await works(store)
    for wrong in (url.replace("geheim", "other"), server.url):
        async with store_at(wrong) as store:
            with pytest.raises(StoreError, match="missing or wrong") as error:
                await store.check()
            assert "other" not in str(error.value)


async def test_an_acl_user_of_other_keys_is_told_what_it_lacks(start: Start) -> None:
    server = start()
    server.ask("ACL", "SETUSER", "edge", "on", ">geheim", "~other:*", "&*", "+@all")
    async with store_at(f"redis://edge:geheim@127.0.0.1:{server.port}") as store:
        with pytest.raises(StoreError, match="lacks a permission"):
            await store.create(KEY, session(), max_per_user=0)


async def test_tls_with_an_authority_of_ones_own(start: Start, tmp_path: Path) -> None:
    if REDIS not in installed():
        pytest.skip("the Valkey of the package has no TLS")
    authority = Authority.make(tmp_path)
    certificate, key = authority.issue(tmp_path, "localhost")
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(authority.file))
    start("--tls-port", str(port), *files, kind=REDIS)
    url = f"rediss://127.0.0.1:{port}"
    async with store_at(url, ca_file=authority.file, cert_file=certificate, key_file=key) as store:
        await works(store)
    async with store_at(url, ca_file=authority.file) as store:
        with pytest.raises(StoreError):  # the server wants a certificate of its clients
            await store.check()
    async with store_at(url, cert_file=certificate, key_file=key) as store:
        with pytest.raises(StoreError, match="certificate verify failed"):
            await store.check()


async def test_sentinel_names_the_master_and_the_next_one(start: Start) -> None:
    master = start()
    replica = start("--replicaof", "127.0.0.1", str(master.port))
    sentinel = start(
        sentinel=f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
    )
    async with store_at(f"redis+sentinel://127.0.0.1:{sentinel.port}/main") as store:
        await works(store)
        await store.create(KEY, session(), max_per_user=0)
        await _replicated(master, replica)
        master.kill()
        started = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await store.create(bytes(32), session(bytes(32)), max_per_user=0)
                    break
                except StoreError:
                    await asyncio.sleep(0.1)
        async with asyncio.timeout(PATIENCE):
            while not store.caches:  # noqa: ASYNC110 - the store has no such event
                await asyncio.sleep(0.05)
        assert await store.get(KEY) is not None
        assert time.monotonic() - started < PATIENCE


async def _replicated(master: RedisServer, replica: RedisServer) -> None:
    """Wait until the replica has what the master has."""
    async with asyncio.timeout(PATIENCE):
        while b"master_link_status:up" not in replica.ask("INFO", "replication"):  # noqa: ASYNC110 - no such event
            await asyncio.sleep(0.05)
        while not master.ask("WAIT", "1", "100").startswith(b":1"):  # noqa: ASYNC110 - no such event
            await asyncio.sleep(0.05)


async def test_a_write_waits_for_the_replicas_that_must_have_it(start: Start) -> None:
    master = start()
    replica = start("--replicaof", "127.0.0.1", str(master.port))
    await _replicated(master, replica)
    async with store_at(master.url, wait_replicas=1, timeout=3.0) as store:
        await works(store)
        replica.kill()
        with pytest.raises(StoreError, match="0 of 1 replicas"):
            await store.create(KEY, session(), max_per_user=0)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of redis-py, when nodes change
async def test_a_cluster(start: Start) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port")
    nodes = [start(*options, str(free_port())) for _ in range(3)]
    for number, node in enumerate(nodes):
        first, last = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
        node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", str(node.port), node.option("--cluster-port"))
    async with asyncio.timeout(PATIENCE):
        while not all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes[:2])
    async with store_at(f"redis+cluster://{hosts}") as store:
        await works(store)
    async with store_at(nodes[0].url) as store:
        outcomes = [await _outcome(store.store_ticket(bytes(32), KEY, time.time() + 30))]
        outcomes.append(await _outcome(store.live.open_client("c", 1, time.time())))
        assert any("redis+cluster" in outcome for outcome in outcomes)
    gc.collect()  # of the nodes that redis-py has replaced, here where their warnings are ignored


async def _outcome(work: Coroutine[Any, Any, object]) -> str:
    """The text of the error, or nothing."""
    try:
        await work
    except StoreError as error:
        return str(error)
    return ""


async def test_a_redis_that_is_full_says_so_and_loses_nothing(start: Start) -> None:
    server = start("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    async with store_at(server.url) as store:
        stored = 0
        while not (
            why := await _outcome(store.create(key_number(stored), session(key_number(stored)), max_per_user=0))
        ):
            stored += 1
        assert "out of memory" in why
        assert len(await store.all(200_000)) == stored
        assert await store.end(key_number(0))


def test_a_server_that_is_not_there_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(NoServer, match="apt-get install redis-server"):
        RedisServer(REDIS)


def _configuration(folder: Path, url: str) -> str:
    """Write a configuration with this store, and return its name."""
    file = folder / "gateway.yaml"
    file.write_text(
        "upstreams: {noetl: {urls: ['http://127.0.0.1:1']}}\n"
        "auth: {tenants: [{domain: 'localhost:1', audience: [a]}]}\n"
        f"acl: {{rules: [{{allow: [view], playbooks: ['**']}}]}}\nsessions: {{store: redis, url: '{url}'}}\n"
    )
    return str(file)


def test_the_command_line_lists_and_ends_the_sessions_in_redis(start: Start, tmp_path: Path) -> None:
    server = start()
    config = _configuration(tmp_path, server.url)

    async def fill() -> Session:
        store = RedisStore(RedisSettings(read_address(server.url)))
        made = await store.create(KEY, session(), max_per_user=0)
        await store.close()
        return made

    made = asyncio.run(fill())
    listed = CliRunner().invoke(cli, ["sessions", "list", "--config", config])
    assert (listed.exit_code, made.id in listed.output) == (0, True), listed.output
    ended = CliRunner().invoke(cli, ["sessions", "end", made.id, "--config", config])
    assert (ended.exit_code, ended.output) == (0, "ended 1 session\n")
    assert CliRunner().invoke(cli, ["sessions", "purge", "--config", config]).output == "deleted 0 expired sessions\n"
    server.kill()
    gone = CliRunner().invoke(cli, ["sessions", "list", "--config", config])
    assert gone.exit_code != 0
    assert "session store: Redis at 127.0.0.1" in gone.output


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--appendonly", "yes", "--appendfsync", "always"), "ok    session store"),
        (("--appendonly", "no"), "set appendonly yes"),
        (("--maxmemory-policy", "allkeys-lru"), "set maxmemory-policy noeviction"),
        (("--appendonly", "yes"), "appendfsync is not always"),
    ],
)
def test_doctor_says_what_the_configuration_of_redis_lacks(
    start: Start, tmp_path: Path, options: tuple[str, ...], line: str
) -> None:
    config = _configuration(tmp_path, start(*options).url)
    said = CliRunner().invoke(cli, ["doctor", "--config", config]).output
    assert line in said, said


def test_check_names_the_redis_without_its_password(tmp_path: Path) -> None:
    config = _configuration(tmp_path, "redis://edge:geheim@redis.example.com")
    said = CliRunner().invoke(cli, ["check", "--config", config]).output
    assert "Redis at redis.example.com:6379" in said
    assert "geheim" not in said
    shown = CliRunner().invoke(cli, ["check", "--show", "--config", config]).output
    assert "geheim" not in shown
