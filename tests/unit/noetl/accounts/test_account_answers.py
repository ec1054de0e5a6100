"""What NoETL's answers about users, sessions and access mean, in all their forms."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.noetl.accounts.answers import (
    NoetlUser,
    Refused,
    UnreadableAnswer,
    find_answer,
    read_access,
    read_login,
    read_roles,
    read_user,
    read_validation,
    reason_of,
)

USER = {"user_id": 7, "email": "a@b.test", "display_name": "Anna", "roles": ["user"]}


def nested(depth: int, inside: Any) -> Any:
    for _ in range(depth):
        inside = {"context": inside}
    return inside


@pytest.mark.parametrize(
    ("given", "roles"),
    [
        (["admin", "user"], ("admin", "user")),
        ('["admin", "user"]', ("admin", "user")),
        ("{admin,user}", ("admin", "user")),
        ('{"two words",user,"a,b","say \\"hi\\""}', ("two words", "user", "a,b", 'say "hi"')),
        ("{NULL,user}", ("user",)),
        ("{}", ()),
        ("[]", ()),
        ("", ()),
        (None, ()),
        ("admin", ("admin",)),
        (["a", "a", " "], ("a",)),
    ],
)
def test_roles_in_each_form(given: Any, roles: tuple[str, ...]) -> None:
    assert read_roles(given) == roles


@pytest.mark.parametrize("given", [{}, 5, [1], ["a", None], '["a"', "[1]", '[["a"]]', ["r"] * 201, True])
def test_malformed_roles_are_an_error(given: Any) -> None:
    with pytest.raises(UnreadableAnswer):
        read_roles(given)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, NoetlUser(7, "a@b.test", "Anna", ("user",))),
        ({"user_id": "7"}, NoetlUser(7, "a@b.test", "Anna", ("user",))),
        ({"display_name": None}, NoetlUser(7, "a@b.test", "a@b.test", ("user",))),
        ({"display_name": None, "email": None}, NoetlUser(7, "", "7", ("user",))),
        ({"display_name": "A\r\nB"}, NoetlUser(7, "a@b.test", "A  B", ("user",))),
        ({"roles": None}, NoetlUser(7, "a@b.test", "Anna", ())),
    ],
)
def test_user_in_each_form(changes: dict[str, Any], expected: NoetlUser) -> None:
    assert read_user({**USER, **changes}) == expected


@pytest.mark.parametrize("user_id", [None, 0, -1, 1.5, "", "7a", " 7", "٧", True, 2**63, "9" * 30, [7], {"id": 7}])
def test_user_without_a_usable_id_is_an_error(user_id: Any) -> None:
    with pytest.raises(UnreadableAnswer):
        read_user({**USER, "user_id": user_id})


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("2026-11-24T22:49:01.996128", 1795560541.996128),
        ("2026-11-24T22:49:01.996128Z", 1795560541.996128),
        ("2026-11-24 22:49:01.996128+00", 1795560541.996128),
        ("2026-11-24 22:49:01+00:00", 1795560541.0),
        ("2026-11-25 04:19:01+05:30", 1795560541.0),
        ("2026-11-24T17:49:01-05", 1795560541.0),
        (1795560541, 1795560541.0),
        (None, None),
        ("", None),
    ],
)
def test_time_in_each_form(given: Any, seconds: float | None) -> None:
    found = read_validation({"valid": True, "user": USER, "expires_at": given})
    assert found is not None
    assert found.expires_at == seconds


@pytest.mark.parametrize("given", ["soon", "2026-13-01T00:00:00", [], True, -5, 1e300, "0" * 500])
def test_malformed_time_is_an_error(given: Any) -> None:
    with pytest.raises(UnreadableAnswer):
        read_validation({"valid": True, "user": USER, "expires_at": given})


@pytest.mark.parametrize("depth", range(4))
def test_answer_below_envelopes_is_found(depth: int) -> None:
    assert find_answer(nested(depth, {"valid": False}), ("valid",)) == {"valid": False}


@pytest.mark.parametrize("given", [None, [], "valid", {}, {"other": {"valid": True}}, nested(4, {"valid": True})])
def test_answer_that_is_nowhere_is_an_error(given: Any) -> None:
    with pytest.raises(UnreadableAnswer, match="none of valid"):
        find_answer(given, ("valid",))


@pytest.mark.parametrize("valid", [None, 1, "true", 0, "", [], {}])
def test_session_is_valid_only_if_the_answer_says_true(valid: Any) -> None:
    with pytest.raises(UnreadableAnswer):
        read_validation({"valid": valid, "user": USER})


@pytest.mark.parametrize(
    ("given", "allowed"),
    [({"allowed": True}, True), ({"allowed": False}, False), ({"allowed": "yes"}, False), ({}, False), (None, False),
     ({"result": {"allowed": True}}, True), ([{"allowed": True}], False)],
)  # fmt: skip
def test_access_is_allowed_only_if_the_answer_says_true(given: Any, allowed: bool) -> None:
    assert read_access(given)[0] is allowed


def test_login_that_is_not_authenticated_is_refused_with_its_reason() -> None:
    with pytest.raises(Refused, match=r"^Login failed: disabled$"):
        read_login({"status": "error", "message": "Login failed", "error": "disabled"})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"message": "a", "error": "b"}, "a: b"),
        ({"message": "a", "error": "a"}, "a"),
        ({"error": "b"}, "b"),
        ({"error": {"code": 5}}, "Authentication failed"),
        (None, "Authentication failed"),
        ({"message": "x" * 500}, "x" * 200),
    ],
)
def test_reason_of_an_answer(given: Any, reason: str) -> None:
    assert reason_of(given) == reason


def test_token_is_not_in_the_text_of_a_login() -> None:
    login = read_login({"status": "authenticated", "session_token": "s" * 32, "user": USER})
    assert "sss" not in repr(login)
