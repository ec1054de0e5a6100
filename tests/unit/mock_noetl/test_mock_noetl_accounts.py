"""The file of accounts: what is read, and mistakes with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mock_noetl.accounts import load_accounts
from mock_noetl.accounts_file import read_accounts
from mock_noetl.errors import AccountsError


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("users:\n- {emial: a@b.test}\n", "line 2: users[0].emial: unknown key (known: active, display_name, email, "),
        ("users:\n- {emial: a@b.test}\n", 'did you mean "email"?)'),
        ("users: {a: 1}\n", "line 1: users: must be a list"),
        ("users:\n- {email: a@b.test, user_id: x}\n", "line 2: users[0].user_id: must be a whole number"),
        (
            "users: []\npermissions:\n- {role: a, allow: [run], playbooks: ['*']}\n",
            "line 3: permissions[0].allow[0]: must be 'execute', 'view', 'modify' or 'delete'",
        ),
        ("permissions:\n- {role: a, allow: [view]}\n", "line 2: permissions[0].playbooks: is missing"),
        ("- 1\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("users: [\n", "not YAML: "),
    ],
)
def test_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "accounts.yaml"
    path.write_text(text)
    with pytest.raises(AccountsError) as caught:
        load_accounts(path)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_lists_that_are_empty_or_left_out_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "accounts.yaml"
    path.write_text("users:\npermissions:\n- {role: a, allow: [view], playbooks: ['*'], except: }\n")
    found = read_accounts(path)
    assert (found.users, found.permissions[0].exceptions) == ([], [])
