"""TLS on both sides: what clients see, its renewal, and whom the gateway believes upstream."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.server.certificate import CertificateError
from tests.integration.certificates import Authority
from tests.integration.harness import Running, behind_gateway, hello

SERVER = "tls: {certificate: server.pem, key: server.key}"


async def peer_name(gateway: Running, authority: Authority) -> str:
    """The name in the certificate that a client is shown."""
    context = ssl.create_default_context(cafile=str(authority.file))
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=context)
    try:
        certificate = writer.get_extra_info("peercert")
        return str(dict(part[0] for part in certificate["subject"])["commonName"])
    finally:
        writer.close()


async def test_requests_over_tls_are_served_on_both_transports(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    authority.issue(tmp_path, "one.test")
    async with behind_gateway(tmp_path, server=SERVER) as (gateway, upstream):
        context = ssl.create_default_context(cafile=str(authority.file))
        for _ in range(3):
            async with gateway.client.get(
                f"https://127.0.0.1:{gateway.port}/noetl/x", headers=await gateway.bearer(), ssl=context
            ) as answer:
                assert answer.status == 200
        assert {request.headers["x-forwarded-proto"] for request in upstream.seen} == {"https"}


async def test_answers_over_tls_tell_browsers_to_stay_with_it(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    authority.issue(tmp_path, "one.test")
    async with behind_gateway(tmp_path, server=SERVER) as (gateway, _):
        context = ssl.create_default_context(cafile=str(authority.file))
        async with gateway.client.get(f"https://127.0.0.1:{gateway.port}/health", ssl=context) as answer:
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_a_certificate_that_changes_is_shown_to_new_connections(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    authority.issue(tmp_path, "one.test")
    async with behind_gateway(tmp_path, server=SERVER) as (gateway, _):
        assert gateway.serving.certificate is not None
        assert await peer_name(gateway, authority) == "one.test"
        authority.issue(tmp_path, "two.test")
        assert gateway.serving.certificate.refresh()
        assert await peer_name(gateway, authority) == "two.test"


async def test_a_certificate_that_cannot_be_used_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    authority.issue(tmp_path, "one.test")
    async with behind_gateway(tmp_path, server=SERVER) as (gateway, _):
        assert gateway.serving.certificate is not None
        (tmp_path / "server.pem").write_text("nonsense")
        assert not gateway.serving.certificate.refresh()
        assert await peer_name(gateway, authority) == "one.test"


@pytest.mark.parametrize("broken", ["missing", "mismatch"])
async def test_unusable_certificate_at_the_start_is_reported(tmp_path: Path, broken: str) -> None:
    if broken == "mismatch":
        key = Authority.make(tmp_path).issue(tmp_path, "one.test")[1].read_bytes()
        Authority.make(tmp_path).issue(tmp_path, "two.test")[1].write_bytes(key)
    with pytest.raises(CertificateError, match=r"server\.pem"):
        async with behind_gateway(tmp_path, server=SERVER):
            pass


@asynccontextmanager
async def secure_upstream(folder: Path, name: str) -> AsyncIterator[tuple[int, Authority]]:
    """An upstream with a certificate for `name`."""
    authority = Authority.make(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(folder, name))
    runner = web.ServerRunner(web.Server(hello), handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1], authority
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("tls", "status"),
    [
        ("{ca: tests-ca.pem}", 200),
        ("{ca: tests-ca.pem, server_name: noetl.test}", 200),
        ("{ca: tests-ca.pem, server_name: other.test}", 502),
        ("{}", 502),
    ],
    ids=["by its address", "by its name", "by another name", "by nobody's authority"],
)
async def test_an_upstream_is_believed_only_if_its_certificate_is(tmp_path: Path, tls: str, status: int) -> None:
    async with secure_upstream(tmp_path, "noetl.test") as (port, _):
        more = f"upstreams: {{noetl: {{urls: ['https://127.0.0.1:{port}'], tls: {tls}}}}}\n"
        async with behind_gateway(tmp_path, more=more) as (gateway, _):
            headers = await gateway.bearer()
            for _ in range(2):
                async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
                    assert answer.status == status


async def test_a_client_that_speaks_plain_http_to_tls_is_cut(tmp_path: Path) -> None:
    Authority.make(tmp_path).issue(tmp_path, "one.test")
    async with behind_gateway(tmp_path, server=SERVER) as (gateway, _):
        with pytest.raises(aiohttp.ClientError):
            await gateway.client.get(f"{gateway.url}/health")
