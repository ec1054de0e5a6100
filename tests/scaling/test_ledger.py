"""The judgement of the run with several gateways: it must be able to fail."""

from __future__ import annotations

from tests.scaling.ledger import Ledger, table


def kept() -> Ledger:
    """A run in which every promise was kept."""
    ledger = Ledger()
    for number in range(60):
        ledger.alive.add(f"alive {number}")
        ledger.ended[f"ended {number}"] = 10.0
        ledger.owed.add(f"owed {number}")
        ledger.followed.add(f"followed {number}")
        ledger.seen[f"owed {number}"] = ledger.seen[f"followed {number}"] = 1
        ledger.used_alive(f"alive {number}", 200)
        ledger.used_ended(f"ended {number}", 401, 11.5)
    return ledger


def test_a_run_that_kept_every_promise_has_nothing_to_report() -> None:
    ledger = kept()
    assert (ledger.verdict(), ledger.missing) == ([], 0)
    assert [row.broken for row in ledger.rows()] == [0] * 5


def test_a_live_session_that_is_refused_is_a_lost_login_and_no_other_status_is() -> None:
    ledger = kept()
    for status in (0, 502, 503):
        ledger.used_alive("alive 1", status)
    assert ledger.verdict() == []
    ledger.used_alive("alive 1", 401)
    assert ledger.verdict() == ["answered logins are valid at each gateway: 1 of 120 not"]


def test_an_ended_session_may_be_accepted_for_a_second_and_no_longer() -> None:
    ledger = kept()
    ledger.used_ended("ended 1", 200, 10.9)
    assert (ledger.verdict(), round(ledger.longest, 3)) == ([], 0.9)
    ledger.used_ended("ended 1", 200, 11.1)
    assert ledger.verdict() == ["ended sessions are refused after 1 s: 1 of 60 not"]


def test_a_request_that_was_sent_before_the_logout_was_answered_proves_nothing() -> None:
    ledger = kept()
    ledger.used_ended("ended 1", 200, 9.9)
    assert (ledger.verdict(), ledger.longest) == ([], 0.0)


def test_missing_and_repeated_results_are_reported() -> None:
    ledger = kept()
    del ledger.seen["owed 1"], ledger.seen["followed 2"]
    ledger.seen["owed 3"] += 1
    assert ledger.missing == 2
    assert ledger.verdict() == [
        "results whose callback was answered arrive: 1 of 60 not",
        "results without a callback arrive: 1 of 60 not",
        "results arrive once: 1 of 118 not",
    ]


def test_a_run_of_too_few_proves_nothing() -> None:
    verdict = Ledger().verdict()
    assert len(verdict) == 5
    assert all(text.endswith("only 0") for text in verdict)
    assert table(kept().rows()).count("\n") == 5
