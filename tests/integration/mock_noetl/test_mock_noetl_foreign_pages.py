"""A page of another origin can't bring code to the sandbox; programs and pages of this machine can."""

from __future__ import annotations

import httpx
import pytest

from mock_noetl.server import build, serve
from mock_noetl.state import Settings

PLAYBOOK = """
apiVersion: noetl.io/v2
kind: Playbook
metadata: {name: code, path: tests/code}
workflow:
  - step: start
    tool: {kind: python, code: "result = {'ran': True}"}
"""
BODY = {"content": PLAYBOOK, "resource_type": "Playbook"}


@pytest.mark.parametrize("dialect", ["python", "rust"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"host": "noetl:8082"}, 200),
        ({"host": "10.1.2.3:8082"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"host": "evil.example:8082"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
    ],
)
async def test_page_of_another_origin_registers_no_code(dialect: str, headers: dict[str, str], status: int) -> None:
    async with serve(build(dialect)) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as http:
        response = await http.post("/api/catalog/register", json=BODY, headers=headers)
        assert response.status_code == status, response.text
        assert (await http.post("/api/catalog/list", json={}, headers=headers)).status_code == 200


async def test_without_python_steps_pages_of_all_origins_may_register() -> None:
    playbook = PLAYBOOK.replace("{kind: python, code: \"result = {'ran': True}\"}", "{kind: sandbox}")
    async with serve(build("python", Settings(python_steps=False))) as sandbox:
        async with httpx.AsyncClient(base_url=sandbox.url) as http:
            body = {**BODY, "content": playbook}
            response = await http.post("/api/catalog/register", json=body, headers={"origin": "http://evil.example"})
            assert response.status_code == 200, response.text
