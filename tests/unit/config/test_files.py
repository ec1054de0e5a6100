"""Which files a glob stands for, also on a mounted ConfigMap."""

from __future__ import annotations

from pathlib import Path

from proxy.config.files import matching_files
from proxy.config.load import load


def config_map(folder: Path, **files: str) -> None:
    """Make a folder as Kubernetes mounts a ConfigMap: links into a hidden folder, through another link."""
    hidden = folder / "..2026_11_26"
    hidden.mkdir(parents=True)
    (folder / "..data").symlink_to("..2026_11_26")
    for name, text in files.items():
        (hidden / f"{name}.yaml").write_text(text)
        (folder / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")


def test_a_file_counts_once(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml"):
        (tmp_path / name).write_text("")
    assert [path.name for path in matching_files(tmp_path, ["b.*", "*.yaml", "**/*.yaml"])] == ["b.yaml", "a.yaml"]


def test_files_of_a_config_map_count_once(tmp_path: Path) -> None:
    config_map(tmp_path / "routes", one="", two="")
    names = [str(path.relative_to(tmp_path)) for path in matching_files(tmp_path, ["**/*.yaml"])]
    assert names == ["routes/one.yaml", "routes/two.yaml"]


def test_rules_of_a_config_map_are_included_once(tmp_path: Path) -> None:
    config_map(tmp_path / "more", rules="acl: {rules: [{allow: [view], playbooks: [a]}]}\n")
    file = tmp_path / "gateway.yaml"
    file.write_text("server: {port: 1}\ninclude: ['more/**/*.yaml', 'more/*.yaml']\n")
    assert len(load(file, {}).gateway.acl.rules) == 1


def test_a_pattern_that_no_folder_can_have_matches_nothing(tmp_path: Path) -> None:
    assert matching_files(tmp_path, ["/etc/*", ""]) == []
