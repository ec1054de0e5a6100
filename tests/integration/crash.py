"""Crashes: `kill -9` at random moments while users sign in and out. `make crash ROUNDS=200` runs it by itself.

Only the gateway is killed; the identity provider goes on. What was answered is noted before the next request is sent,
so that after a crash it is known of each session whether it must be there, must not, or may be either.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from proxy.http.credentials import key_of
from proxy.sessions.file import FileStore
from tests.e2e.processes import Programs, wait_until

CLIENTS = 6
MOST_ANSWERS = 60
PATIENCE = 20.0


@dataclass(slots=True)
class Book:
    """Tokens of sessions whose login was answered: `alive`, `ended` with an answer, or `unsure` (no answer came)."""

    alive: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)

    @property
    def answers(self) -> int:
        """How many requests were answered."""
        return len(self.alive) + 2 * len(self.ended) + len(self.unsure)

    def add(self, other: Book) -> None:
        """Take another book's entries over."""
        self.alive |= other.alive
        self.ended |= other.ended
        self.unsure |= other.unsure


@dataclass(slots=True)
class Outcome:
    """What came of the rounds."""

    rounds: int
    book: Book
    lost: int
    revived: int
    seconds: float

    def line(self) -> str:
        """For people."""
        book = self.book
        logins = len(book.alive) + len(book.ended) + len(book.unsure)
        return (
            f"crash: {self.rounds} rounds of kill -9 in {self.seconds:.0f} s, {logins} answered logins, "
            f"{len(book.ended)} answered logouts, {len(book.unsure)} cut off: "
            f"{self.lost} logins lost, {self.revived} ended sessions revived"
        )


def id_token(programs: Programs) -> str:
    """A token of the identity provider to sign in with."""
    form = {"grant_type": "password", "client_id": "noetl-gateway", "username": "user@example.com"}
    with httpx.Client(trust_env=False, timeout=10) as client:
        answer = client.post(f"{programs.auth0_url}/oauth/token", data=form | {"password": "password"})
        token: str = answer.raise_for_status().json()["id_token"]
        return token


def run(rounds: int) -> Outcome:
    """So many crashes, each followed by a look at every session of its round, and at the end at those of all."""
    begun, total, lost, revived = time.monotonic(), Book(), set[str](), set[str]()
    with Programs("python") as programs:
        programs.auth0.start()
        programs.gateway.start()
        token = id_token(programs)
        for _ in range(rounds):
            book = _crash(programs, token)
            programs.gateway.start()
            lost |= _wrong(programs.gateway_url, book.alive, valid=True)
            revived |= _wrong(programs.gateway_url, book.ended, valid=False)
            total.add(book)
        programs.gateway.stop()
        stored = asyncio.run(_stored(programs.sessions, total.alive | total.ended))
    lost |= total.alive - stored
    revived |= total.ended & stored
    return Outcome(rounds, total, len(lost), len(revived), time.monotonic() - begun)


def _crash(programs: Programs, token: str) -> Book:
    book, stop = Book(), threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(_sign_in_and_out, programs.gateway_url, token, book, stop) for _ in range(CLIENTS)]
        try:
            goal = random.randint(1, MOST_ANSWERS)
            wait_until(lambda: book.answers >= goal or any(one.done() for one in working), PATIENCE, "logins")
        finally:
            stop.set()
            programs.gateway.kill()
    for one in working:
        one.result()
    return book


def _sign_in_and_out(url: str, token: str, book: Book, stop: threading.Event) -> None:
    """Until the gateway is gone. Raises if it answers anything but what it should."""
    mine: list[str] = []
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        try:
            while True:
                answer = client.post("/api/auth/login", json={"auth0_token": token})
                session = str(answer.raise_for_status().json()["session_token"])
                book.alive.add(session)
                mine.append(session)
                if random.random() < 0.5:
                    continue
                chosen = mine.pop(random.randrange(len(mine)))
                book.unsure.add(chosen)
                book.alive.discard(chosen)
                client.post("/api/auth/logout", headers={"authorization": f"Bearer {chosen}"}).raise_for_status()
                book.ended.add(chosen)
                book.unsure.discard(chosen)
        except httpx.TransportError:
            if not stop.is_set():
                raise


def _wrong(url: str, tokens: Iterable[str], *, valid: bool) -> set[str]:
    """Those of the tokens that the gateway does not take for what they must be."""
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        answers = {token: client.post("/api/auth/validate", json={"session_token": token}) for token in tokens}
    return {token for token, answer in answers.items() if answer.raise_for_status().json()["valid"] is not valid}


async def _stored(folder: Path, tokens: Iterable[str]) -> set[str]:
    """Those of the tokens whose session is in the folder."""
    store = FileStore(folder)
    try:
        return {token for token in tokens if (key := key_of(token)) is not None and store.peek(key) is not None}
    finally:
        await store.close()


def main() -> int:
    """`python -m tests.integration.crash ROUNDS`; exit 1 if anything was lost or revived."""
    outcome = run(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    print(outcome.line())
    return 1 if outcome.lost or outcome.revived else 0


if __name__ == "__main__":
    sys.exit(main())
