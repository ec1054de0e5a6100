"""The random source of a sandbox: the system's, or one with a seed, with which two runs are identical."""

from __future__ import annotations

import base64
import random


def random_source(seed: int | str | None) -> random.Random:
    """Return the system's random source, or a reproducible one for a seed; never use the latter for real secrets."""
    return random.SystemRandom() if seed is None else random.Random(f"mock_server {seed}")  # noqa: S311


def branch(source: random.Random) -> random.Random:
    """Return a source of its own, so that what others draw makes no difference; the system's source is its own."""
    seed = seed_of_branch(source)
    return source if seed is None else random.Random(seed)  # noqa: S311


def seed_of_branch(source: random.Random) -> int | None:
    """Return the seed of a source of its own; None for the system's source."""
    return None if isinstance(source, random.SystemRandom) else source.getrandbits(64)


def handle(source: random.Random, size: int = 32) -> str:
    """Return `size` random bytes as base64url text without padding."""
    return base64.urlsafe_b64encode(source.randbytes(size)).rstrip(b"=").decode("ascii")
