"""Imports point one way, reach declared dependencies only, and never out of what is shipped."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.architecture.tree import ROOT, Source, imports, packages, parse, sources

MAY_IMPORT: dict[str, frozenset[str]] = {
    "schemas": frozenset(),
    "agents": frozenset({"schemas"}),
    "connectors": frozenset({"schemas"}),
    "replay": frozenset({"schemas", "agents", "connectors"}),
    "streams": frozenset({"schemas", "agents", "connectors", "replay"}),
    "cli": frozenset({"schemas", "agents", "connectors", "replay", "streams"}),
}
"""The layers: package to the other packages of the project that it may know."""

UNSHIPPED = frozenset({"tests", "benchmarks", "examples"})


def layer_violations(source: Source) -> list[str]:
    package = source.path.split("/", maxsplit=1)[0]
    ours = (MAY_IMPORT.keys() | UNSHIPPED) - MAY_IMPORT[package] - {package}
    return [
        f"{source.path}:{line}: {package} may not import {name}"
        for line, name in imports(source)
        if name.split(".")[0] in ours
    ]


def undeclared_imports(source: Source, declared: frozenset[str]) -> list[str]:
    """Find imports of packages that only something else brings along; `declared` holds import names."""
    known = declared | MAY_IMPORT.keys() | UNSHIPPED | sys.stdlib_module_names
    return [
        f"{source.path}:{line}: {name} is not among the dependencies in pyproject.toml"
        for line, name in imports(source)
        if name.split(".")[0] not in known
    ]


def declared_modules() -> frozenset[str]:
    """Give the import names of what is declared. An extra may not be installed: its name stands for its module."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {requirement.partition(">")[0].lower() for requirement in project["dependencies"]}
    extras = {name.partition(">")[0] for extra in project["optional-dependencies"].values() for name in extra}
    return frozenset(
        module
        for module, distributions in packages_distributions().items()
        if not wanted.isdisjoint(distribution.lower() for distribution in distributions)
    ).union(extras)


def test_every_package_has_its_place_in_the_layers() -> None:
    assert packages() == sorted(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package: str) -> None:
    found = sources(package)
    assert found
    assert [violation for source in found for violation in layer_violations(source)] == []


def test_imports_are_declared() -> None:
    declared = declared_modules()
    found = [source for package in MAY_IMPORT for source in sources(package)]
    assert [violation for source in found for violation in undeclared_imports(source, declared)] == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("schemas/x.py", "import agents"),
        ("schemas/x.py", "from agents.core import Agent"),
        ("agents/x.py", "def f():\n    from replay import merge"),
        ("agents/x.py", "import connectors.models as m"),
        ("connectors/x.py", "from agents import pipeline"),
        ("replay/x.py", "import streams"),
        ("replay/x.py", "from cli import main"),
        ("streams/x.py", "import cli.main"),
        ("cli/x.py", "from examples import market"),
        ("replay/x.py", "from tests.conftest import SHARED_DATA"),
    ],
)
def test_a_wrong_import_is_found(path: str, text: str) -> None:
    assert len(layer_violations(parse(text, path))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "agents/x.py",
            "from schemas.base import Event\nfrom agents.frame import Frame\nfrom . import frame",
        ),
        ("replay/x.py", "import connectors, agents, schemas, numpy"),
        ("cli/x.py", "import streams, replay"),
    ],
)
def test_a_right_import_passes(path: str, text: str) -> None:
    assert layer_violations(parse(text, path)) == []


def test_an_undeclared_import_is_found() -> None:
    declared = declared_modules()
    assert "yaml" in declared
    assert "vaderSentiment" in declared
    source = parse("import click\nimport numpy.typing\nimport json\nfrom pytest import skip", "replay/x.py")
    assert [violation.partition(" is")[0] for violation in undeclared_imports(source, declared)] == [
        "replay/x.py:1: click",
        "replay/x.py:4: pytest.skip",
    ]
