"""Sampled stacks as a flame graph: an SVG that needs no scripts. Pure.

Width is time, depth is the call stack with callers at the top; a box tells its share when the mouse rests on it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

Stacks = Mapping[tuple[str, ...], int]
_THREAD = re.compile(r'thread \((?:0x)?[0-9A-Fa-f]+\)(?:: "?(?P<name>[^"]*)"?)?')
_WIDTH, _ROW, _HEAD = 1400, 17, 34
_LETTER = 6.3
_LEAST_WIDTH = 0.4
_STYLE = (
    "svg{font:11px ui-monospace,monospace;background:#fdfdfb}text{fill:#1d2125;pointer-events:none}"
    ".t{font:14px system-ui,sans-serif}rect{stroke:#fdfdfb;stroke-width:.6}g:hover>rect{stroke:#1d2125}"
)


@dataclass(slots=True)
class _Node:
    count: int = 0
    children: dict[str, _Node] = field(default_factory=dict)


def parse(raw: str, *, without_thread: str) -> dict[tuple[str, ...], int]:
    """Read collapsed stacks (`a;b;c 12`), without the threads whose name begins with `without_thread`."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        thread = _THREAD.fullmatch(frames[0])
        if thread:
            if (thread["name"] or "").startswith(without_thread):
                continue
            frames = frames[1:]
        if frames and count.isdecimal():
            stacks[tuple(frames)] += int(count)
    return dict(stacks)


def self_times(stacks: Stacks) -> dict[str, int]:
    """How often each function was itself at work; its lines count together."""
    times: Counter[str] = Counter()
    for frames, count in stacks.items():
        times[function_of(frames[-1])] += count
    return dict(times)


def package_times(stacks: Stacks) -> dict[str, int]:
    """How often the code of each package was itself at work; ours by room (`proxy/upstream`)."""
    times: Counter[str] = Counter()
    for frames, count in stacks.items():
        file = frames[-1].rpartition("(")[2].partition(":")[0].rstrip(")")
        folders = file.split("/")
        depth = 2 if folders[0] == "proxy" and len(folders) > 2 else 1
        times["/".join(folders[:depth])] += count
    return dict(times)


def total_time(stacks: Stacks, function: str) -> int:
    """How often a function was on the stack, itself at work or waiting for what it had called."""
    return sum(count for frames, count in stacks.items() if any(function_of(frame) == function for frame in frames))


def function_of(frame: str) -> str:
    """A frame without its line: `read (a/b.py:12)` is `read (a/b.py)`."""
    return re.sub(r":\d+\)$", ")", frame)


def flamegraph(stacks: Stacks, title: str) -> str:
    """The whole picture."""
    root = _tree(stacks.items())
    boxes = list(_boxes(root, 0, 0.0, root.count))
    height = _HEAD + _ROW * (1 + max((depth for depth, *_ in boxes), default=0)) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">',
        f'<style>{_STYLE}</style><text class="t" x="6" y="21">{escape(title)}</text>',
    ]
    for depth, left, width, name, count in boxes:
        x, y, share = left * _WIDTH, _HEAD + depth * _ROW, count / root.count
        letters = int(width * _WIDTH / _LETTER) - 1
        text = name if len(name) <= letters else name[: max(letters - 1, 0)] + "…"
        label = f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(text)}</text>' if letters > 3 else ""
        parts.append(
            f"<g><title>{escape(name)}: {share:.1%}</title>"
            f'<rect x="{x:.1f}" y="{y}" width="{width * _WIDTH:.1f}" height="{_ROW}" fill="{_colour(name)}"/>'
            f"{label}</g>"
        )
    return "\n".join([*parts, "</svg>\n"])


def _tree(stacks: Iterable[tuple[tuple[str, ...], int]]) -> _Node:
    root = _Node()
    for frames, count in stacks:
        root.count += count
        node = root
        for frame in frames:
            node = node.children.setdefault(function_of(frame), _Node())
            node.count += count
    return root


def _boxes(node: _Node, depth: int, left: float, total: int) -> Iterator[tuple[int, float, float, str, int]]:
    for name, child in sorted(node.children.items()):
        width = child.count / total
        if width * _WIDTH >= _LEAST_WIDTH:
            yield depth, left, width, name, child.count
            yield from _boxes(child, depth + 1, left, total)
        left += width


def _colour(name: str) -> str:
    # By file, so that a module keeps its colour from one picture to the next; ours are warm, others' are cool.
    module = name.partition("(")[2].rstrip(")")
    base = 14 if module.startswith("proxy/") else 190
    return f"hsl({base + crc32(module.encode()) % 36} 70% 76%)"
