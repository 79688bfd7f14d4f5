"""Prompts from their files: a front matter that names and seals a version, and the text that a model reads.

Some come with Quorum, in `cli/prompts`, and go by their names. See docs/prompts.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from schemas.errors import BookError
from schemas.prompts import Prompt

SHIPPED = Path(__file__).parent / "prompts"
DRAFT = "draft"
_FRONT = re.compile(r"---\n(?P<front>.*?)^---\n(?P<text>.*)", re.DOTALL | re.MULTILINE)


class _Front(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands above a prompt's text."""

    name: str
    version: int
    shows: tuple[str, ...]
    sha256: str


def prompt_of(given: str, folder: Path) -> dict[str, Any]:
    """Read the prompt that a book names: one that comes with Quorum, or a file relative to the book's folder.

    Raises BookError, one sentence with the file and the reason, also where the text is not the one of its version.
    """
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.md"))}
    path = shipped.get(given, folder / given)
    prompt = _read(path, ", ".join(shipped))
    ours = shipped.get(prompt.name)
    if ours is not None and path != ours:
        known = _read(ours, "")
        if known.version == prompt.version and known.digest != prompt.digest:
            raise BookError(
                f"{path}: {known.name}@{known.version} comes with Quorum and has another text; rename yours"
            )
    return {name: getattr(prompt, name) for name in ("name", "version", "shows", "text")}


def _read(path: Path, shipped: str) -> Prompt:
    try:
        whole = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BookError(f"{path}: no such prompt; write the file, or name one that comes along: {shipped}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BookError(f"{path}: cannot be read: {error}") from None
    found = _FRONT.fullmatch(whole)
    if found is None:
        raise BookError(f"{path}: has no front matter: name, version, shows and sha256 between two lines ---")
    try:
        front = msgspec.convert(yaml.load(found["front"], yaml.BaseLoader), _Front, strict=False)  # noqa: S506 # strings
        prompt = msgspec.convert(
            {"name": front.name, "version": front.version, "shows": front.shows, "text": found["text"].strip()}, Prompt
        )
    except yaml.YAMLError as error:
        raise BookError(f"{path}: its front matter is not YAML: {' '.join(str(error).split())}") from None
    except msgspec.ValidationError as error:
        raise BookError(f"{path}: {str(error).replace('`$.', '`').replace(' - at `', ', at `')}") from None
    _check_seal(path, prompt, front.sha256)
    return prompt


def _check_seal(path: Path, prompt: Prompt, sealed: str) -> None:
    """Hold a version to the text that it was given with; a draft is held to none."""
    if sealed not in (DRAFT, prompt.digest):
        raise BookError(
            f"{path}: the text is not the one that {prompt.name}@{prompt.version} was sealed with ({sealed});"
            f" give it a new version and sha256: {prompt.digest}, or sha256: {DRAFT} while you write"
        )
