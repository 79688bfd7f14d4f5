"""A model's answer: the form that it is asked to fill in, and the one way in which what it filled in is read.

Strict: JSON alone, no field but those of the form, every value within the bounds of `VerdictGiven`. What does not fit
is no answer; why it does not is said in one sentence that the model can act on.
"""

from __future__ import annotations

import json
from typing import Any, cast, get_type_hints

import msgspec

from connectors.voters.protocol import Opinion
from schemas.base import Record
from schemas.errors import RefusedError
from schemas.fields import MAX_ITEMS, MAX_NOTE_CHARS, MAX_TEXT_CHARS
from schemas.values import record_test, unbounded
from schemas.verdicts import VerdictGiven

TOOL = "vote"
"""Name of the tool that a model answers with, or of the format of its reply."""
TOOL_TEXT = "Give your vote on the question. Call this once, with all that you have to say."
MAX_ANSWER_BYTES = 200_000
"""An answer at the bounds of all its texts is longer, and no model writes one."""
MAX_REASON_CHARS = 300
OPTIONAL = ("size_hint", "stop_price", "target_price", "horizon_ms")
"""Fields that may be null."""

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reasoning": {
            "type": "string",
            "description": f"Why, in a few sentences, at most {MAX_TEXT_CHARS} characters.",
        },
        "key_factors": {
            "type": "array",
            "items": {"type": "string"},
            "maxItems": MAX_ITEMS,
            "description": f"What decided it: a few short phrases, each at most {MAX_NOTE_CHARS} characters.",
        },
        "risk_note": {
            "type": "string",
            "description": f"What could prove this vote wrong, at most {MAX_NOTE_CHARS} characters.",
        },
        "action": {
            "type": "string",
            "enum": ["BUY", "SELL", "HOLD"],
            "description": "BUY, SELL or HOLD; HOLD is no position.",
        },
        "confidence": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "0 to 1, how likely the action is right; 0 abstains.",
        },
        "size_hint": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Share of the usual size that you would take, 0 to 1.",
        },
        "stop_price": {"type": "number", "description": "Price at which the position was a mistake, above 0."},
        "target_price": {"type": "number", "description": "Price at which the position has done its work, above 0."},
        "horizon_ms": {
            "type": "integer",
            "minimum": 1,
            "description": "How long the vote holds good, in whole milliseconds, above 0.",
        },
    },
    "required": ["reasoning", "action", "confidence"],
    "additionalProperties": False,
}
"""The form, in the JSON Schema that every provider takes; what has no bounds here has them in its description.

The reasons stand first, so that a model that writes from the front has thought before it votes. A field that is not
required may be left out, and so may a number be null.
"""


class UnfitError(ValueError):
    """An answer does not fit the form; the message says in one sentence what the model is to mend."""


def strict_schema() -> dict[str, Any]:
    """Give the form for services that demand every field: where there is nothing to say, a number may be null there."""
    fields = {
        name: {**field, "type": [field["type"], "null"]} if name in OPTIONAL else field
        for name, field in ANSWER_SCHEMA["properties"].items()
    }
    return {**ANSWER_SCHEMA, "properties": fields, "required": list(fields)}


def _form() -> type[Record]:
    """Make the record that an answer is read as: the fields of an opinion, with the bounds of the event's."""
    bounds = get_type_hints(VerdictGiven, include_extras=True)
    fields = [
        (field.name, bounds[field.name], *(() if field.required else (field.default,)))
        for field in msgspec.structs.fields(Opinion)
    ]
    return cast("type[Record]", msgspec.defstruct("Answer", fields, bases=(Record,), frozen=True, kw_only=True))


_FORM = _form()
_LAX = unbounded(_FORM)
"""Reads what is out of bounds, so that the bound can be named."""
_decode = msgspec.json.Decoder(_LAX).decode
_test = record_test(_LAX)


def parse(arguments: bytes | str) -> Opinion:
    """Read the input of the tool, or the whole content of a reply in JSON mode. Raises UnfitError."""
    text = arguments.encode("utf-8", "surrogatepass") if isinstance(arguments, str) else arguments
    if not text.strip():
        raise _unfit("", "it is empty")
    if len(text) > MAX_ANSWER_BYTES:
        raise _unfit("", f"it has {len(text):,} bytes, and {MAX_ANSWER_BYTES:,} are allowed")
    try:
        if not isinstance(json.loads(text, object_pairs_hook=_once), dict):
            raise _unfit("", "it is not one JSON object")
        said = _decode(text)
    except _TwiceError:
        raise _unfit("", "a field stands twice in it") from None
    except msgspec.ValidationError as error:
        raise _unfit(*_told(error)) from None
    except (msgspec.DecodeError, RecursionError, json.JSONDecodeError, UnicodeDecodeError):
        raise _unfit("", "it is not JSON") from None
    except UnfitError:
        raise
    except ValueError:  # a number of more digits than Python reads
        raise _unfit("", "a number in it is too long") from None
    fault = _test(said)
    if fault is not None:
        raise _unfit(fault.path, fault.reason)
    return Opinion(**{name: getattr(said, name) for name in Opinion.__struct_fields__})


class _TwiceError(Exception):
    """A field stands twice, and readers differ on which one counts."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _TwiceError
    return fields


def _told(error: msgspec.ValidationError) -> tuple[str, str]:
    """Give the place and the reason of what msgspec refuses."""
    reason, _, place = str(error).partition(" - at `$")
    return place.rstrip("`").removeprefix("."), reason


def _unfit(field: str, reason: str) -> UnfitError:
    """Say what is wrong, in printable words, with no more of the model's own than it takes."""
    refused = RefusedError("the answer", field, reason[:MAX_REASON_CHARS])
    if not field:
        return UnfitError(f"The answer does not fit the form: {refused.reason}.")
    about = ANSWER_SCHEMA["properties"].get(field.partition("[")[0])
    wanted = f" {about['description']}" if about else ""
    return UnfitError(f"The answer does not fit the form, in its field `{refused.field}`: {refused.reason}.{wanted}")
