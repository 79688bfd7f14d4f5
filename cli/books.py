"""Books from their files."""

from __future__ import annotations

from pathlib import Path

import yaml

from schemas.book import Book, parse_book
from schemas.errors import BookError


def load_book(path: Path) -> Book:
    """Read a BOOK.yaml (or the book.json of a run). Raises BookError: one sentence with file, field and reason."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BookError(f"{path}: no such file; `quorum new BOOK.yaml` writes a book") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BookError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise BookError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    try:
        return parse_book(data)
    except BookError as error:
        raise BookError(f"{path}: {error}") from None


def archive_of(book: Book, path: Path, given: Path | None) -> Path:
    """Give the archive to replay: the one given, else the one that the book names, relative to the book's file."""
    if given is not None:
        return given
    if not book.archive:
        raise BookError(f"{path}: names no archive; give --archive PATH or set `archive`")
    return path.parent / book.archive
