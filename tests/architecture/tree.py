"""The project's own source as syntax trees, for tests that read it rather than run it."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    """One Python file: its path relative to the project's root, its text and its tree."""

    path: str
    text: str
    tree: ast.Module


def parse(text: str, path: str = "planted.py") -> Source:
    """Read a source from a string: how a test plants a violation."""
    return Source(path, text, ast.parse(text, path))


def packages() -> list[str]:
    """List the top-level packages that lie in the project's root."""
    return sorted(init.parent.name for init in ROOT.glob("[a-z]*/__init__.py"))


@cache
def sources(folder: str) -> tuple[Source, ...]:
    """Read every Python file below a folder of the project's root, in order of path."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return tuple(parse(path.read_text("utf-8"), str(path.relative_to(ROOT))) for path in paths)


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of all that a source imports, wherever: `from a import b` gives `a.b`."""
    package = source.path.split("/")[:-1]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:
                yield node.lineno, f"{module}.{name.name}"


def tracked_files() -> list[Path]:
    """List the files that git holds and that are still there; skip the test outside a checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there is no list of tracked files to read")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
