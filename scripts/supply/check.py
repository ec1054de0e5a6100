"""Check the dependencies for known vulnerabilities and licences. `make audit` runs this script.

usage: check.py SBOM PIP_AUDIT_JSON

SBOM is the CycloneDX JSON of `make sbom`; PIP_AUDIT_JSON is the output of `pip-audit --format json`. The exit status is
1 for a known vulnerability, or for a licence that is not on the list. Packages without vulnerability data in the index
are counted and reported as not checked.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "OLDAP-2.8", "PSF-2.0",
        "Python-2.0", "Unlicense",
    }
)  # fmt: skip
"""SPDX ids of accepted licences, under which operators may use and distribute the gateway."""
_NAMES = {
    "apache software license": "Apache-2.0",
    "license :: osi approved :: apache software license": "Apache-2.0",
    "license :: osi approved :: bsd license": "BSD-3-Clause",
    "license :: osi approved :: mit license": "MIT",
    "license :: osi approved :: python software foundation license": "PSF-2.0",
    "license :: osi approved :: openldap public license": "OLDAP-2.8",
    "license :: osi approved :: mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "mit license": "MIT",
    "the openldap public license": "OLDAP-2.8",
}
"""Other names of these licences in package metadata."""


def licences(component: Mapping[str, Any]) -> list[str]:
    """Return the licences of a component as SPDX ids, or as its own texts if they are unknown."""
    found = []
    for entry in component.get("licenses", []):
        named = entry.get("license", {})
        text = str(entry.get("expression") or named.get("id") or named.get("name") or "")
        found.append(_NAMES.get(text.strip().lower(), text.strip()))
    return list(dict.fromkeys(found))


def allowed(licence: str) -> bool:
    """Return True if a licence, or an SPDX expression of licences, is accepted; with OR, one of them is sufficient.

    AND has precedence over OR (SPDX 2.3, annex D). A malformed expression is not accepted.
    """
    passes, rest = _any(re.findall(r"[()]|[^\s()]+", licence))
    return passes and not rest


def _any(words: list[str]) -> tuple[bool, list[str]]:
    """Return True if one of the alternatives at the beginning is accepted, and the remaining tokens."""
    passes, rest = _all(words)
    while rest[:1] == ["OR"]:
        other, rest = _all(rest[1:])
        passes = passes or other
    return passes, rest


def _all(words: list[str]) -> tuple[bool, list[str]]:
    passes, rest = _one(words)
    while rest[:1] == ["AND"]:
        other, rest = _one(rest[1:])
        passes = passes and other
    return passes, rest


def _one(words: list[str]) -> tuple[bool, list[str]]:
    if words[:1] != ["("]:
        return words[:1] != [] and words[0] in ALLOWED, words[1:]
    passes, rest = _any(words[1:])
    return passes and rest[:1] == [")"], rest[1:]


def licence_problems(components: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return the problems with the licences of components."""
    for component in components:
        found = licences(component)
        if not any(map(allowed, found)):
            yield f"{component['name']}: the licence {' / '.join(found) or 'is missing'} is not on the list"


def audit_results(report: Mapping[str, Any]) -> tuple[int, int, list[str]]:
    """Return the number of checked and unchecked packages, and the known vulnerabilities."""
    dependencies = report["dependencies"]
    skipped = sum("skip_reason" in one for one in dependencies)
    known = [
        f"{one['name']} {one['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none yet'}"
        for one in dependencies
        for found in one.get("vulns", [])
    ]
    return len(dependencies) - skipped, skipped, known


def main(sbom: Path, audit: Path) -> int:
    """Print the licences and the vulnerabilities; return the exit status."""
    components = json.loads(sbom.read_text())["components"]
    for component in sorted(components, key=lambda one: str(one["name"]).lower()):
        print(f"{component['name']:<24} {component['version']:<12} {' / '.join(licences(component))}")
    problems = list(licence_problems(components))
    looked_up, skipped, known = audit_results(json.loads(audit.read_text()))
    print(f"licences: {len(components)} packages, {len(problems)} not on the list")
    print(f"known vulnerabilities: {len(known)} in {looked_up} packages that were checked")
    if skipped:
        print(f"not checked: {skipped} packages, because the index has no data on them; use PyPI as the index")
    for problem in (*problems, *known):
        print(f"problem: {problem}")
    return 1 if problems or known else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
