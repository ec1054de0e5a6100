"""`acl.tests`, and decisions about requests that nobody sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.compile import Compiled, compile_config
from proxy.config.load import load
from proxy.noetl.whatif import Unclear, failing_tests, on_request, subject_of

TEXT = """\
upstreams: {noetl: {urls: ["http://localhost:8082"]}}
acl:
  roles: {dev: {emails: ["*@x.org"]}}
  rules:
    - {allow: [execute], roles: [dev], playbooks: ["a/**"]}
    - {deny: ["*"], playbooks: ["a/secret"]}
    - {allow: [view], roles: [dev], paths: ["/noetl/**"]}
  tests:
"""


def compiled(folder: Path, *tests: str) -> Compiled:
    file = folder / "gateway.yaml"
    file.write_text(TEXT + "".join(f"    - {{{test}}}\n" for test in tests) + ("" if tests else "    []\n"))
    return compile_config(load(file, {}))


@pytest.mark.parametrize(
    "test",
    [
        "as: {email: a@x.org}, execute: a/b, expect: allow",
        "as: {email: a@x.org}, execute: a/secret, expect: deny",
        "as: {email: a@y.org}, execute: a/b, expect: deny",
        "as: {email: a@y.org, roles: [dev]}, execute: a/b, expect: allow",
        "as: {email: a@x.org}, view: a/b, expect: deny",
        "as: {email: a@x.org}, request: GET /noetl/dashboard/stats, expect: allow",
        "as: {email: a@x.org}, request: POST /noetl/dashboard/stats, expect: deny",
        "as: {email: a@x.org}, request: POST /noetl/catalog/list, expect: allow",
        "as: {}, request: GET /noetl/executions, expect: allow",
        "as: {email: a@x.org}, request: GET /nowhere, expect: deny",
        "as: {email: a@x.org}, request: GET /noetl/../x, expect: deny",
        "as: {}, request: GET /health, expect: allow",
        "as: {email: a@x.org}, request: GET /noetl/credentials/x, expect: deny",
        "as: {email: a@x.org}, request: GET /noetl/no/such/endpoint, expect: deny",
        "as: {email: a@x.org}, request: GET /noetl/catalog/a/b, expect: deny",
        "as: {email: a@x.org}, request: POST /noetl/mcp/a/b/discover, expect: allow",
        "as: {email: a@x.org}, request: POST /noetl/mcp/a/secret/discover, expect: deny",
        "as: {email: a@x.org}, request: GET /noetl/catalog/%20a, expect: deny",
        "as: {email: a@x.org}, request: POST /noetl/execute, body: {path: a/b}, expect: allow",
        "as: {email: a@x.org}, request: POST /noetl/execute, body: {path: a/secret}, expect: deny",
        "as: {email: a@x.org}, request: POST /noetl/execute, body: {path: a/b, catalog_id: 1}, expect: deny",
    ],
)
def test_a_true_expectation_passes(tmp_path: Path, test: str) -> None:
    assert failing_tests(compiled(tmp_path, test)) == ()


@pytest.mark.parametrize(
    ("test", "text"),
    [
        ("as: {email: a@x.org}, execute: a/secret, expect: allow", "expected allow for a@x.org: execute a/secret, but"),
        ("as: {}, execute: a/b, expect: allow", "expected allow for a user without e-mail: execute a/b, but no rule"),
        ("as: {}, request: FROB /x, expect: allow", 'request needs a method and a path, as "GET /noetl/executions"'),
        (
            "as: {}, request: POST /noetl/execute, expect: allow",
            "POST /noetl/execute is authorized by its body, which is not given",
        ),
    ],
)
def test_a_false_expectation_is_a_problem_at_its_place(tmp_path: Path, test: str, text: str) -> None:
    (problem,) = failing_tests(compiled(tmp_path, test))
    assert (problem.place.line, problem.place.column, problem.key) == (9, 7, "acl.tests[0]")
    assert problem.text.startswith(text)


def test_the_deciding_rule_is_named(tmp_path: Path) -> None:
    (problem,) = failing_tests(compiled(tmp_path, "as: {email: a@x.org}, execute: a/secret, expect: allow"))
    assert problem.text.endswith(f"denied by {tmp_path}/gateway.yaml:6")


@pytest.mark.parametrize("path", ["/noetl/execute", "/noetl/executions/1/rerun", "/noetl/catalog/resource"])
def test_a_request_that_depends_on_a_playbook_is_not_guessed(tmp_path: Path, path: str) -> None:
    config = compiled(tmp_path)
    with pytest.raises(Unclear):
        on_request(config, subject_of(config, "a@x.org", (), {}), "POST", path)
