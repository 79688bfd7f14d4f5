"""Prompts from files: what a book makes of one, and the sentence that each mistake gets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

from cli.books import load_book
from cli.promptfile import SHIPPED
from schemas.book import Book
from schemas.codec import encode
from schemas.errors import BookError
from schemas.prompts import Prompt
from tests.cli.commands import EXAMPLES

TEXT = "Vote.\n---\n{{close}}\n{{texts}}"
SEAL = Prompt(name="mine", version=2, text=TEXT).digest
FRONT = f"---\nname: mine\nversion: 2\nshows: [price, texts]\nsha256: {SEAL}\n---\n"


def book_with(tmp_path: Path, prompt: object, file: str | None = FRONT + TEXT) -> Path:
    """Write a book that names a prompt, and the prompt's file."""
    data = yaml.safe_load((EXAMPLES / "btc.yaml").read_text())
    data["analysts"]["prompt"] = prompt
    (tmp_path / "prompts").mkdir(exist_ok=True)
    if file is not None:
        (tmp_path / "prompts" / "mine.md").write_bytes(file.encode())
    path = tmp_path / "book.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def loaded(tmp_path: Path, prompt: object, file: str | None = FRONT + TEXT) -> Prompt:
    found = load_book(book_with(tmp_path, prompt, file)).analysts.prompt
    assert found is not None
    return found


def refusal(tmp_path: Path, prompt: object, file: str | None) -> str:
    with pytest.raises(BookError) as refused:
        load_book(book_with(tmp_path, prompt, file))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_book_carries_the_text_of_the_file_that_it_names(tmp_path: Path) -> None:
    prompt = loaded(tmp_path, "prompts/mine.md")
    assert prompt == Prompt(name="mine", version=2, shows=("price", "texts"), text=TEXT)
    assert prompt.id == f"mine@2#{SEAL}"


def test_a_runs_own_book_needs_no_file(tmp_path: Path) -> None:
    path = book_with(tmp_path, "prompts/mine.md")
    book = load_book(path)
    kept = tmp_path / "run" / "book.json"
    kept.parent.mkdir()
    kept.write_bytes(encode(book))
    (tmp_path / "prompts" / "mine.md").unlink()
    assert load_book(kept) == book == msgspec.json.decode(kept.read_bytes(), type=Book)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.md")))
def test_what_comes_along_goes_by_its_name_and_is_sealed(name: str, tmp_path: Path) -> None:
    prompt = loaded(tmp_path, name, None)
    assert prompt.name == name
    assert f"sha256: {prompt.digest}\n" in (SHIPPED / f"{name}.md").read_text()


def test_line_ends_of_another_system_make_no_other_prompt(tmp_path: Path) -> None:
    assert loaded(tmp_path, "prompts/mine.md", (FRONT + TEXT).replace("\n", "\r\n") + "\r\n").digest == SEAL


def test_a_draft_is_held_to_no_text(tmp_path: Path) -> None:
    draft = FRONT.replace(SEAL, "draft")
    first, second = (loaded(tmp_path, "prompts/mine.md", draft + TEXT + more) for more in ("", " Now."))
    assert first.id == f"mine@2#{SEAL}" != second.id


def test_a_changed_text_under_an_old_version_is_refused_with_its_new_seal(tmp_path: Path) -> None:
    said = refusal(tmp_path, "prompts/mine.md", FRONT + TEXT + " Now.")
    assert "the text is not the one that mine@2 was sealed with" in said
    new = Prompt(name="mine", version=3, text=TEXT + " Now.").digest
    assert f"a new version and sha256: {new}" in said
    mended = FRONT.replace("version: 2", "version: 3").replace(SEAL, new)
    assert loaded(tmp_path, "prompts/mine.md", mended + TEXT + " Now.").id == f"mine@3#{new}"


@pytest.mark.parametrize(
    ("prompt", "file", "reason"),
    [
        (
            "prompts/none.md",
            None,
            "prompts/none.md: no such prompt; write the file, or name one that comes along: head",
        ),
        ("prompts", None, "cannot be read"),
        ("prompts/mine.md", TEXT, "has no front matter: name, version, shows and sha256"),
        ("prompts/mine.md", "---\nname: [\n---\nVote.", "front matter is not YAML"),
        ("prompts/mine.md", FRONT.replace("mine", "My Own") + TEXT, "at `name`"),
        ("prompts/mine.md", FRONT.replace(": 2", ": two") + TEXT, "Expected `int`, got `str`, at `version`"),
        ("prompts/mine.md", FRONT.replace(": 2", ": 0") + TEXT, "at `version`"),
        ("prompts/mine.md", FRONT.replace("[price, texts]", "[prices]") + TEXT, "Invalid enum value 'prices', at `sh"),
        ("prompts/mine.md", FRONT.replace("sha256: ", "digest: ") + TEXT, "unknown field `digest`"),
        ("prompts/mine.md", FRONT.replace("shows: [price, texts]\n", "") + TEXT, "required field `shows`"),
        (
            "prompts/mine.md",
            FRONT.replace(SEAL, "draft") + "Vote.\n---\n{{texts}}",
            "mine@2 shows the price, so its qu",
        ),
        (
            "prompts/mine.md",
            FRONT.replace(SEAL, "draft").replace("mine", "numbers").replace(": 2", ": 1") + TEXT,
            "rename",
        ),
        (7, None, "Expected `object | null`, got `int`, at `analysts.prompt`"),
        ({"name": "a", "version": 1, "text": "Vote {{now}}."}, None, "prompt a@1 has a slot in its instruction"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused(prompt: object, file: str | None, reason: str, tmp_path: Path) -> None:
    assert reason in refusal(tmp_path, prompt, file)
