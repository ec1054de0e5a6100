"""Paths in their normalised form."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.http.target import KnownPaths, PathError, normalise_path, read_target

PATHS = st.from_regex(r"/[A-Za-z0-9._~%/;?#-]{0,12}", fullmatch=True)


@given(raw=PATHS)
def test_a_normalised_path_stays_as_it_is(raw: str) -> None:
    """Or a path that is known by its bytes would be another one than the parser finds."""
    try:
        path = normalise_path(raw)
    except PathError:
        return
    assert normalise_path(path) == path


@given(method=st.sampled_from(["GET", "POST", "DELETE"]), target=PATHS)
def test_a_line_that_is_read_by_its_bytes_means_what_the_parser_finds(method: str, target: str) -> None:
    found = KnownPaths().read_line(f"{method} {target} HTTP/1.1".encode())
    if found is not None:
        assert (found[0].path, found[1]) == read_target(method, target, "h")
