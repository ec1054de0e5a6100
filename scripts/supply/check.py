"""What the gateway is made of, checked: known vulnerabilities and licences. `make audit` runs it.

usage: check.py SBOM PIP_AUDIT_JSON

SBOM is CycloneDX JSON, as `make sbom` writes it; PIP_AUDIT_JSON what `pip-audit --format json` printed. The exit code
is 1 for a known vulnerability, or for a licence that is not on the list. Packages that the registry was not able to
tell about are counted and said to be unchecked: not every index has vulnerability data.
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
"""SPDX ids of licences that an operator may run and pass on without asking us."""
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
"""Other words for them, as packages write them."""


def licences(component: Mapping[str, Any]) -> list[str]:
    """A component's licences as SPDX ids, or in its own words where they are not known ones."""
    found = []
    for entry in component.get("licenses", []):
        named = entry.get("license", {})
        text = str(entry.get("expression") or named.get("id") or named.get("name") or "")
        found.append(_NAMES.get(text.strip().lower(), text.strip()))
    return list(dict.fromkeys(found))


def allowed(licence: str) -> bool:
    """Whether a licence, or an SPDX expression of licences, is on the list; of those joined by OR one suffices.

    AND binds more than OR (SPDX 2.3, annex D). What is no expression is on no list.
    """
    passes, rest = _any(re.findall(r"[()]|[^\s()]+", licence))
    return passes and not rest


def _any(words: list[str]) -> tuple[bool, list[str]]:
    """Whether one of the choices at the beginning passes, and what follows them."""
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


def refused(components: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with the licences of components."""
    for component in components:
        found = licences(component)
        if not any(map(allowed, found)):
            yield f"{component['name']}: the licence {' / '.join(found) or 'is not told'} is not on the list"


def audited(report: Mapping[str, Any]) -> tuple[int, int, list[str]]:
    """How many packages were looked up, how many could not be, and the known vulnerabilities."""
    dependencies = report["dependencies"]
    skipped = sum("skip_reason" in one for one in dependencies)
    known = [
        f"{one['name']} {one['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none yet'}"
        for one in dependencies
        for found in one.get("vulns", [])
    ]
    return len(dependencies) - skipped, skipped, known


def main(sbom: Path, audit: Path) -> int:
    """Print the licences and the audit; the exit code."""
    components = json.loads(sbom.read_text())["components"]
    for component in sorted(components, key=lambda one: str(one["name"]).lower()):
        print(f"{component['name']:<24} {component['version']:<12} {' / '.join(licences(component))}")
    problems = list(refused(components))
    looked_up, skipped, known = audited(json.loads(audit.read_text()))
    print(f"licences: {len(components)} packages, {len(problems)} not on the list")
    print(f"known vulnerabilities: {len(known)} in {looked_up} packages that were looked up")
    if skipped:
        print(f"not looked up: {skipped} packages, as this index has no data about them; run it beside PyPI")
    for problem in (*problems, *known):
        print(f"problem: {problem}")
    return 1 if problems or known else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
