"""`quorum new` and the examples made with it: books that validate, explain themselves, and are never lost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from cli import new
from cli.books import load_book
from schemas.book import Book, Section
from schemas.decisions import Mode
from schemas.errors import BookError


def run(*args: str | Path) -> Result:
    app = typer.Typer()
    new.register(app)
    return CliRunner().invoke(app, [str(arg) for arg in args])


def refusal(*args: str | Path) -> str:
    """Give the one sentence with which bad input is refused."""
    result = run(*args)
    assert isinstance(result.exception, BookError)
    assert result.exception.exit_code == 2
    message = str(result.exception)
    assert "\n" not in message
    return message


def settings_of(kind: type[Section]) -> set[str]:
    """Name every setting of a section and of the sections in it."""
    names: set[str] = set()
    for field in msgspec.structs.fields(kind):
        names.add(field.name)
        for inner in (field.type, *get_args(field.type)):
            if isinstance(inner, type) and issubclass(inner, Section):
                names |= settings_of(inner)
    return names


def test_a_new_book_validates_and_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "My first Book!.yaml"
    result = run(path)
    assert result.exit_code == 0
    assert result.stdout.strip() == str(path)
    book = load_book(path)
    assert (book.name, book.strategy.mode, book.archive) == ("my-first-book", "consensus", "archive")
    assert book.consensus.agree == 2
    assert {model.kind for model in book.models.values()} == {"vader", "textblob", "trend"}


def test_options_reach_the_book(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    pairs = ("--instrument", "BTC/USDT@binance", "--instrument", "ETH/USDT@binance")
    run(path, *pairs, "--mode", "advisory", "--archive", "../some: where")
    book = load_book(path)
    assert [instrument.id for instrument in book.instruments] == ["BTC/USDT@binance", "ETH/USDT@binance"]
    assert book.text.keys == ("BTC", "ETH")
    assert (book.strategy.mode, book.archive) == ("advisory", "../some: where")


@pytest.mark.parametrize("mode", get_args(Mode))
def test_every_mode_has_a_book(mode: str, tmp_path: Path) -> None:
    run(tmp_path / "b.yaml", "--mode", mode)
    assert load_book(tmp_path / "b.yaml").strategy.mode == mode


def test_every_setting_is_there_with_a_comment() -> None:
    text = new.book_yaml("b", ["A@x"], "consensus", "archive", file="b.yaml")
    written = set(re.findall(r"^[ #-]*([a-z_]+):|[{,] ?([a-z_]+):", text, re.MULTILINE))
    assert settings_of(Book) - {name for names in written for name in names} == set()
    for line in text.splitlines():
        assert not re.match(r" *(- )?[a-z_]+: +\S", line) or "  # " in line or "id:" in line, line


def test_a_book_is_not_written_over_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text("mine")
    assert "exists already" in refusal(path)
    assert path.read_text() == "mine"
    assert run(path, "--force").exit_code == 0
    assert load_book(path).name == "b"


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("--mode", "democracy"), "democracy.*consensus, override, advisory"),
        (("--instrument", "BTC"), "'BTC' is not SYMBOL@venue"),
        (("--instrument", "a@b c"), "SYMBOL@venue"),
        (("--instrument", "A@x", "--instrument", "A@x"), "twice"),
        (("--instrument", "A@" + "x" * 200), "length <= 100"),
    ],
)
def test_bad_input_is_refused_in_a_sentence_and_nothing_is_written(
    args: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    assert re.search(reason, refusal(tmp_path / "b.yaml", *args))
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_book_can_have_is_refused(tmp_path: Path) -> None:
    assert "name" in refusal(tmp_path / "№.yaml")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(tmp_path / "file" / "b.yaml")


@pytest.mark.parametrize("hostile", ["a # b", "a: b", "'", '"', "null", "~", "- x", "{a}", "*x", "&x", "€", "1.0"])
def test_what_is_given_comes_back_whatever_it_means_to_yaml(hostile: str) -> None:
    text = new.book_yaml("b", [f"{hostile.replace(' ', '')}@x"], "consensus", hostile, file="b.yaml")
    book: dict[str, Any] = yaml.safe_load(text)
    assert book["archive"] == hostile
    assert book["instruments"][0]["id"] == f"{hostile.replace(' ', '')}@x"
