"""The documents within the shipped limits that take longest to parse, to validate and to plan, as far as we found."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path()
_STEPS = 64 * 1024 - 100


def _chain(count: int) -> str:
    links = "".join(f"fragment F{i} on User {{ email ...F{i + 1} }} " for i in range(count))
    return f"{links}fragment F{count} on User {{ email }}"


WORST = {
    "escapes in a string": '{ playbook(name: "' + "\\n" * (_STEPS // 2) + '") { name } }',
    "lines of a block string": '{ playbook(name: """' + "\n a" * (_STEPS // 3) + '""") { name } }',
    "blank lines": "{ version" + "\n" * _STEPS + "}",
    "a long name": "{ " + "a" * _STEPS + " }",
    "the same field 700 times": "{ me { " + "email " * 700 + "} }",
    "the same field 990 times": "{ me { " + "email " * 990 + "} }",
    "two fragments of the same fields": "{ me { ...F ...G } } "
    + "".join(f"fragment {name} on User {{ {'email ' * 350} }} " for name in "FG"),
    "fragments beside each other": "{ me { "
    + " ".join(f"...F{i}" for i in range(110))
    + " } } "
    + " ".join(f"fragment F{i} on User {{ email }}" for i in range(110)),
    "operations and a chain of fragments": " ".join(f"query Q{i} {{ me {{ ...F0 }} }}" for i in range(50)) + _chain(60),
    "operations and a long fragment": " ".join(f"query Q{i} {{ me {{ ...F }} }}" for i in range(55))
    + "fragment F on User { "
    + "email " * 420
    + "}",
    "the same field with large arguments": "mutation { ...F } fragment F on Mutation { "
    + " ".join(
        f'executePlaybook(name: "a", variables: {{ {" ".join(f"k{i}: {i}" for i in range(25))} }}) {{ id }}'
        for _ in range(10)
    )
    + " }",
    "names that are none": "{ me { " + " ".join(f"emai{i}" for i in range(980)) + " } }",
    "variables": "query (" + " ".join(f"$v{i}: String" for i in range(190)) + ') { playbook(name: "a") { name } }',
}
"""By what makes them slow. Some are wrong, which takes time to find out too."""
