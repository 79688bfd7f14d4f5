"""Books from their files."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from cli.promptfile import prompt_of
from connectors.store import S3_PREFIX
from schemas.book import Book, Section, parse_book
from schemas.errors import BookError


def load_book(path: Path) -> Book:
    """Read a BOOK.yaml (or the book.json of a run). Raises BookError: one sentence with file, field and reason."""
    data = read_book(path)
    try:
        return parse_book(data)
    except BookError as error:
        raise BookError(f"{path}: {error}{_meant(str(error))}") from None


def read_book(path: Path) -> dict[str, Any]:
    """Read what a book's file holds, unchecked, and the prompt that it names.

    Raises BookError where it is no file of a book at all, or its prompt cannot be used.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BookError(f"{path}: no such file; `quorum new BOOK.yaml` writes a book") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BookError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise BookError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if data is None:
        raise BookError(f"{path}: is empty; `quorum new BOOK.yaml` writes a book")
    if not isinstance(data, dict):
        raise BookError(f"{path}: holds no settings of a book; `quorum new BOOK.yaml` writes one")
    analysts = data.get("analysts")
    if isinstance(analysts, dict) and isinstance(analysts.get("prompt"), str):
        analysts["prompt"] = prompt_of(analysts["prompt"], path.parent)
    return data


def _meant(refusal: str) -> str:
    """Name the setting that a misspelt one may stand for."""
    unknown = re.search(r"unknown field `(.+?)`", refusal)
    known = [name for section in Section.__subclasses__() for name in section.__struct_fields__]
    close = get_close_matches(unknown[1], known, n=1) if unknown else []
    return f"; did you mean {close[0]}?" if close else ""


def archive_of(book: Book, path: Path, given: str | None) -> Path | str:
    """Give the archive to replay: the one given, else the one that the book names, relative to the book's file.

    It is a path, or what begins with `s3://`.
    """
    if given is not None:
        return place_of(given)
    if not book.archive:
        raise BookError(f"{path}: names no archive; give --archive PATH or set `archive`")
    return book.archive if book.archive.startswith(S3_PREFIX) else path.parent / book.archive


def place_of(given: str) -> Path | str:
    """Read what may be a path or an address in S3: a path would lose one of the latter's two strokes."""
    return given if given.startswith(S3_PREFIX) else Path(given)
