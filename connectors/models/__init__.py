"""Models that vote over a network: how a question is put to one, how its answer is read, and what it may cost.

Importing this package loads no SDK: a provider loads its own when a book first names a model of it.
"""

from __future__ import annotations

from collections.abc import Callable

from connectors.models.mind import Mind, Tell
from connectors.models.provider import Provider
from connectors.models.purse import Purse
from connectors.voters.protocol import Voter
from schemas.book import Book, ModelSettings
from schemas.errors import BookError

__all__ = ["Mind", "minds", "provider_of"]


def minds(book: Book, purse: Purse, tell: Tell, clock: Callable[[], int]) -> dict[str, Voter]:
    """Give the voter behind each model that the book asks, its screen included, and that is called over a network.

    `tell` is told of every call before it is made and when it has ended; `clock`, in ns, dates that. Raises BookError,
    which names the model, where a key, a price or a setting is missing.
    """
    voters: dict[str, Voter] = {}
    for name in book.asked:
        settings = book.models[name]
        if settings.is_outside:
            try:
                provider = provider_of(settings, book.analysts.deadline_s)
                voters[name] = Mind(name, settings, provider, purse, tell, clock)
            except BookError as error:
                raise BookError(f"book {book.name}: models.{name}: {error}") from None
    return voters


def provider_of(settings: ModelSettings, longest_s: float) -> Provider:
    """Make what calls a model, in `longest_s` at most. Nothing is sent yet. Raises BookError."""
    if settings.kind == "bedrock":
        from connectors.models.bedrock import Converse  # noqa: PLC0415 - each loads an SDK when it is made

        return Converse(settings, longest_s)
    if settings.kind == "anthropic":
        from connectors.models.anthropic import Messages  # noqa: PLC0415

        return Messages(settings)
    if settings.kind == "openai":
        from connectors.models.openai import ChatCompletions  # noqa: PLC0415

        return ChatCompletions(settings)
    raise BookError(f"a model of kind {settings.kind} is not called over a network")
