"""What Amazon Comprehend answers, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.connectors.models.servers import Says, made

GOOD = {"Positive": 0.9, "Negative": 0.05, "Neutral": 0.04, "Mixed": 0.01}
BAD = {"Positive": 0.1, "Negative": 0.7, "Neutral": 0.1, "Mixed": 0.1}


def scored(*texts: object) -> Says:
    """Answer with the scores of so many texts."""
    return said([{"Index": n, "Sentiment": "POSITIVE", "SentimentScore": each} for n, each in enumerate(texts)])


def said(results: object, errors: Sequence[Any] = ()) -> Says:
    """Answer with results and errors, whatever they are."""
    return made({"ResultList": results, "ErrorList": list(errors)}, Content_Type="application/x-amz-json-1.1")


def failed(status: int, code: str) -> Says:
    """Refuse a request."""
    return made({"__type": code, "Message": "told"}, status, Content_Type="application/x-amz-json-1.1")
