"""The source stays readable and portable: short files, short functions, no address from one workplace."""

from __future__ import annotations

import ast
import re

import pytest

from tests.architecture.tree import ROOT, Source, packages, parse, sources, tracked_files

FILE_LINES = 400
TEST_LINES = 600  # a table of scenarios is long
FUNCTION_LINES = 70
FOLDERS = (*packages(), "benchmarks", "examples", "tests")

REGISTRY = re.compile(
    r"https?://[^\s\"]*(?:/simple\b|/packages/[0-9a-f]{2}/|/-/[^\s\"]*[.]tgz|maven2/|/debian/pool)"
    r"|\bpypi[.]org|\bpythonhosted[.]org|\bregistry[.]npmjs|^\s*--(?:extra-)?index-url|^\s*--find-links",
    re.MULTILINE,
)
WORKPLACE = re.compile(r"(?<![\w.~-])/(?:work|root)/")


def length_violations(source: Source) -> list[str]:
    lines = len(source.text.splitlines())
    bound = TEST_LINES if str(source.path).startswith("tests/") else FILE_LINES
    found = [f"{source.path}: {lines} lines, more than {bound}"] if lines > bound else []
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{source.path}:{node.lineno}: {node.name} has {lines} lines, more than {FUNCTION_LINES}")
    return found


def address_violations(name: str, text: str) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: names {match.group().strip()}"
        for pattern in (REGISTRY, WORKPLACE)
        for match in pattern.finditer(text)
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_and_functions_are_short(folder: str) -> None:
    assert [violation for source in sources(folder) for violation in length_violations(source)] == []


def test_no_tracked_file_names_a_registry_or_a_workplace() -> None:
    found: list[str] = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content:
            name = str(path.relative_to(ROOT))
            found += address_violations(name, content.decode("utf-8", errors="replace"))
    assert found == []


def test_a_long_file_and_a_long_function_are_found() -> None:
    assert length_violations(parse("x = 1\n" * FILE_LINES)) == []
    assert length_violations(parse("x = 1\n" * (FILE_LINES + 1))) == ["planted.py: 401 lines, more than 400"]
    assert length_violations(parse("def f():\n" + "    x = 1\n" * (FUNCTION_LINES - 1))) == []
    assert length_violations(parse("\nasync def f():\n" + "    x = 1\n" * FUNCTION_LINES)) == [
        "planted.py:2: f has 71 lines, more than 70"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "see https://" + "host.example/simple/numpy",
        "url: https://" + "host.example/packages/0a/x.whl",
        "from py" + "pi.org",
        "--index-" + "url somewhere",
        "data = '/" + "work/shared'",
        "`/" + "root/.cache`",
    ],
)
def test_a_planted_address_is_found(text: str) -> None:
    assert len(address_violations("planted.md", f"first line\n{text}\n")) == 1
    assert address_violations("planted.md", f"first line\n{text}\n")[0].startswith("planted.md:2: ")


@pytest.mark.parametrize("text", ["../shared/data", "https://example.com/simplest", "net/work/flow", "a/root/b"])
def test_other_addresses_pass(text: str) -> None:
    assert address_violations("planted.md", text) == []
