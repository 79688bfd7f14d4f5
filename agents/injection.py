"""A screen for texts that talk to the model that reads them: a stated list of rules, each with its weight.

The score is a function of the text alone. It is a net with holes: what slips through is still quoted as data, read by
several models, and held against sources and prices.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agents.disguise import cleaned, folded, hidden, mixed_words

FLAGGED_FROM = 3
"""The score from which a text waits for a person."""
MAX_SCREENED_CHARS = 20_000


class Screening(NamedTuple):
    """What the screen found."""

    score: int
    rules: tuple[str, ...]
    """The rules that the text met, in the order of the list."""


class Rule(NamedTuple):
    """A pattern of what is said to models and rarely to people; it counts once a text."""

    name: str
    weight: int
    pattern: re.Pattern[str]


def _rule(name: str, weight: int, *alternatives: str) -> Rule:
    return Rule(name, weight, re.compile("|".join(alternatives)))


_COMMANDS = (
    r"(?:instructions?|prompts?|rules|directions?|directives?|guidelines|guardrails|constraints|messages?|context"
    r"|commands?)"
)
_EARLIER = r"(?:previous|prior|above|earlier|preceding|foregoing|existing|system|original|initial|your|other)"
_FORGET = (
    r"\b(?:ignore|disregard|forget|override|overrule|bypass|discard|neglect|skip|do not follow|don't follow"
    r"|stop following)"
)
_MODEL = (
    r"(?:ai|llms?|language models?|ai (?:agents?|models?|assistants?|systems?|traders?|readers?)|gpt\w*|chatgpt|claude"
    r"|chatbots?|voting models?|trading (?:agents?|models?|assistants?|ai)"
    r"|models? (?:that|who|which) (?:reads?|votes?|are|is)|automated (?:readers?|agents?|analysts?))"
)
_SIDE = r"(?:buy|sell|hold|long|short)"
_FIELD = (
    r"(?:action|confidence|size_hint|stop_price|target_price|stop_loss|take_profit|horizon_ms|horizon|reasoning"
    r"|key_factors|risk_note|verdict)"
)
RULES: tuple[Rule, ...] = (
    _rule(
        "override",
        3,
        rf"{_FORGET}\W+(?:\w+\W+){{0,4}}{_EARLIER}\W+(?:\w+\W+){{0,2}}"
        rf"(?:{_COMMANDS}|texts?|news|data|numbers|everything)\b",
        rf"\b(?:ignore|disregard|forget)\W+(?:all|any|the|these|those)\W+(?:\w+\W+)?{_COMMANDS}\b",
        r"\b(?:ignore|disregard|forget)\W+(?:everything|all|anything)\W+(?:(?:you|that|i)\W+)?(?:\w+\W+)?"
        r"(?:above|before|told|said|learned|read)\b",
    ),
    _rule(
        "override in another language",
        3,
        r"\bignor(?!e\b|ed\b|es\b|ing\b)\w*\W+(?:\w+\W+){0,3}"
        r"(?:instruccion\w*|instrucoes|instruções|instructions|istruzioni|anweisung\w*|consignes|regeln|reglas)",
        r"\bignore\W+(?:les|las|as|le|toutes|todas|alle)\W+(?:\w+\W+)?"
        r"(?:instruccion\w*|instrucoes|instruções|instructions|istruzioni|anweisung\w*|consignes|regeln|reglas)",
        r"\b(?:vergiss|missachte|oublie[zr]?|olvida|dimentica|esque[cç]a)\b\W+(?:\w+\W+){0,3}"
        r"(?:anweisung\w*|instructions|instruccion\w*|istruzioni|instru[cç][oõ]es|consignes)",
        r"(?:игнорируй|игнорировать|забудь|проигнорируй)\w*\W+(?:\w+\W+){0,3}(?:инструкци|указани|правил|команд)",
        r"(?:忽略|无视|無視|忘记|忘掉|不要理会).{0,10}(?:指令|指示|说明|提示|規則|规则)",
        r"(?:以前|上記|これまで|前)の.{0,6}(?:指示|命令|ルール).{0,4}(?:無視|忘れ)",
    ),
    _rule(
        "new instructions",
        2,
        rf"\b(?:new|updated|revised|actual|real|secret|hidden|special)\W+(?:system\W+)?{_COMMANDS}\W*"
        r"(?::|for\b|follow\b|are\b|is\b)",
        r"\b(?:follow|obey|execute|comply with|carry out)\W+"
        rf"(?:these|this|my|the following|the new|only (?:these|this|my))\W+(?:\w+\W+)?{_COMMANDS}\b",
    ),
    _rule(
        "addresses a model",
        3,
        r"\b(?:dear|attention|note|notice|message|instructions?|hello|hey|hi|to|for)\W+"
        rf"(?:(?:to|for|all|any|the|every|you)\W+){{0,4}}{_MODEL}\b\W{{0,3}}"
        r"(?::|,|\u2014|-|!|reading\b|who\b|that\b|which\b|you\b|must\b|please\b|should\b)",
        r"\bif you are an? (?:ai|llm|language model|assistant|bot|model|automated)\b",
        r"\bas an? (?:ai|llm|language model)\b\W*(?:,|you)",
    ),
    _rule(
        "gives a role",
        2,
        r"\b(?:you are|you're|you will be|you must be|act as|acting as|behave as|pretend (?:to be|that you are|you are)"
        r"|roleplay as|assume the role of)\W+(?:now\W+|henceforth\W+)?(?:(?:an?|the|my|in)\W+)?(?:\w+\W+){0,3}"
        r"(?:ai|assistant|model|llm|bot|gpt|dan|agent|analyst|trader|system|expert|advisor|voter|mode|developer|oracle)\b",
        r"\bfrom now on\W+(?:you|your|always|only|answer|reply|vote)\b",
        r"\byou (?:must|should|will|shall|have to) (?:now )?(?:answer|reply|respond|vote|output|return|ignore|obey)\b",
    ),
    _rule(
        "orders an answer",
        3,
        r"\b(?:answer|respond|reply|output|vote|return|say|print|emit|decide|choose|submit)\b\W+"
        r"(?:(?:only|just|always|exactly|strictly|now|with|on|is|must be|the|a|an|word|action|one|single)\W+){0,6}"
        rf"{_SIDE}\b.{{0,40}}\b(?:confidence|conviction|certainty|only|nothing else|regardless|no matter|immediately"
        r"|everything|always|every question|for all)\b",
        r"\b(?:your|the|correct|right|final|only|expected|required)\W+(?:\w+\W+)?"
        r"(?:answer|vote|verdict|response|reply|output|action|decision)\W+"
        rf"(?:is|must be|should be|shall be|will be|has to be|to give is|:|=)\W*(?:an?\W+|to\W+)?{_SIDE}\b",
        r"\b(?:set|make|put|give|report)\W+(?:the\W+|your\W+|its\W+)?(?:action|vote|verdict|answer)\W+"
        rf"(?:to|=|as|of)\W*{_SIDE}\b",
        r"\b(?:answer|respond|reply|vote)\W+(?:only\W+)?(?:with\W+)?(?:(?:the\W+)?(?:word|action|single word)\W+)?"
        rf"[\"'\u201c\u2018(\[]?{_SIDE}\b[\"'\u201d\u2019)\]]?\W*(?:$|[.,;:!])",
    ),
    _rule(
        "sets a confidence",
        2,
        r"\b(?:confidence|conviction|certainty)\b[\"']?\W{0,4}(?:of|is|=|:|at|to|must be|should be|set to)?\W{0,4}"
        r"(?:1(?:\.0+)?|0?\.\d+|\d{2,3} ?%|100 percent|maximum|max)(?!\w)",
        r"\b(?:full|maximum|maximal|highest|total|100 ?%)\W+confidence\b",
    ),
    _rule(
        "role marker",
        3,
        r"<\|?\W{0,2}(?:im_start|im_end|system|assistant|user|endoftext|eot_id|start_header_id|end_header_id"
        r"|begin_of_text|sep)\W{0,2}\|?>",
        r"\[/?(?:inst|system|assistant|sys)\]|<</?sys>>|</?s>\W*\[",
        r"</?(?:system|assistant|instruction|prompt|user|human|developer|admin|context|document|data|text|news|quote"
        r"|question|input)s?>",
        r"##\W{0,2}(?:system|instructions?|response|human|assistant|user|prompt)\b",
        r"[\"']role[\"']\W{0,3}:\W{0,3}[\"'](?:system|assistant|user|developer|tool)",
        r"(?:^|[.!?\]>)\"'-]\W{0,3})(?:system|assistant|developer|system prompt|system message|admin|human)\W{0,2}"
        r"(?:message|prompt|override|note|update|notice)?\W{0,2}(?<=[:>\]])\W{0,3}\w",
    ),
    _rule(
        "answer schema",
        3,
        rf"[\"']{_FIELD}[\"']\W{{0,3}}[:=]",
        rf"\b(?:action|verdict|vote|signal)\W{{0,2}}[:=]\W{{0,2}}{_SIDE}\W{{1,4}}{_FIELD}\b",
    ),
    _rule(
        "tool call",
        3,
        r"</?\W{0,2}(?:tool|function)(?:_|-| )?(?:calls?|use|result|response|s)?\W|</?\W{0,2}(?:invoke|parameter)\b",
        r"[\"'](?:tool_calls?|function_call|tool_use|tool_choice|tool_result|arguments|parameters)[\"']\W{0,3}:",
        r"\b(?:submit|give|record|return|send)_(?:verdict|vote|answer|opinion|order)\b",
        r"\b(?:tool_calls?|function_calls?|tool_use)\b|\bcall\W+(?:the\W+)?(?:tool|function)\W+\w+",
    ),
    _rule(
        "ends the quotation",
        3,
        r"\b(?:end|close|stop) of (?:the )?(?:texts?|data|documents?|quotes?|quotation|quoted (?:texts?|material)"
        r"|untrusted (?:data|text|content)|user (?:input|data))\b",
        r"(?:---|===)\W{0,3}end\b|</?(?:untrusted|external)\w*>|\]\]>|```\W{0,3}(?:json|system|tool|end)",
    ),
    _rule(
        "asks to reveal",
        3,
        r"\b(?:reveal|print|show|repeat|leak|output|expose|disclose|tell me|give me|send|dump|display|write out)\b\W+"
        r"(?:\w+\W+){0,4}(?:system prompt|your (?:\w+\W+)?(?:prompt|instructions|rules|guidelines|configuration)"
        r"|(?:prompt|conversation|instructions) (?:above|verbatim|so far)|api[ _-]?keys?|credentials"
        r"|environment variables|portfolio state)\b",
    ),
    _rule(
        "speaks of its reading",
        1,
        r"\b(?:system prompt|jailbreak\w*|prompt injection|developer mode|language model|llms?|openai|anthropic|chatgpt"
        r"|the (?:texts?|data) (?:above|below)|other (?:texts|sources|headlines) (?:are|is) (?:fake|wrong|outdated))\b",
    ),
)
"""Patterns on the folded text: lower case, lookalikes as Latin letters, no invisible character."""

_LEET = str.maketrans("013457@$", "oieastas")
_DIGIT_IN_WORD = re.compile(r"(?<=[a-z])[013457@$]|[013457@$](?=[a-z])")
_SPELT = re.compile(r"\b(?:[a-z][\s.\-_*]){4,}[a-z]\b")
_BETWEEN = re.compile(r"[\W_]+")
_RUN_TOGETHER = re.compile(
    r"(?:ignore|disregard|forget)(?:all|any|the|your|every)*(?:previous|prior|above|instructions|rules)|systemprompt"
    r"|(?:answer|vote|reply|respond|output)(?:with|only|just)*(?:buy|sell|hold)"
)
SPELT_WEIGHT = 3
"""Letters set apart that together give an order."""
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{24,}={0,2}(?![A-Za-z0-9+/=_-])")
_HEX = re.compile(r"(?<![0-9A-Fa-f])(?:0x)?((?:[0-9A-Fa-f]{2}){16,})(?![0-9A-Fa-f])")
_SIX_BITS = {char: n for n, char in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")} | {
    "-": 62,
    "_": 63,
}
BLOB_WEIGHT = 3
"""A blob in base64 or hexadecimal digits that decodes to readable text; a hash or an address does not."""


def screen(text: str) -> Screening:
    """Score a text as it came; from `FLAGGED_FROM` on it is to wait for a person."""
    text = text[:MAX_SCREENED_CHARS]
    clean = cleaned(text)
    readings = _readings(clean)
    met = [rule for rule in RULES if any(rule.pattern.search(reading) for reading in readings)]
    score = sum(int(rule.weight) for rule in met)
    names = [rule.name for rule in met]
    for name, weight in (
        ("hidden letters", min(hidden(text), FLAGGED_FROM)),
        ("lookalike letters", min(mixed_words(clean), FLAGGED_FROM)),
        ("encoded text", BLOB_WEIGHT if _has_blob(clean) else 0),
        ("spelt out", SPELT_WEIGHT if _is_spelt(readings[0]) else 0),
    ):
        if weight:
            score += weight
            names.append(name)
    return Screening(score, tuple(names))


def _readings(clean: str) -> list[str]:
    """Give the ways to read a clean text: as it stands, folded, and with digits taken for letters."""
    lower, plain = clean.casefold(), folded(clean)
    readings = [plain] if lower == plain else [plain, lower]
    if _DIGIT_IN_WORD.search(plain):
        readings.append(_DIGIT_IN_WORD.sub(lambda match: match[0].translate(_LEET), plain))
    return readings


def _is_spelt(plain: str) -> bool:
    """Tell whether letters that stand apart give an order once they are put together."""
    return bool(_SPELT.search(plain)) and bool(_RUN_TOGETHER.search(_BETWEEN.sub("", plain)))


def _has_blob(clean: str) -> bool:
    return any(_reads(_sixes(match[0])) for match in _BASE64.finditer(clean)) or any(
        _reads(bytes.fromhex(match[1])) for match in _HEX.finditer(clean)
    )


def _sixes(blob: str) -> bytes:
    """Decode base64 of either alphabet; the last incomplete byte is left out."""
    bits = 0
    digits = blob.rstrip("=")
    for char in digits:
        bits = bits << 6 | _SIX_BITS[char]
    count = len(digits) * 6 // 8
    return (bits >> (len(digits) * 6 - count * 8)).to_bytes(count, "big")


def _reads(data: bytes) -> bool:
    """Tell readable text: printable ASCII throughout, and a space in it."""
    return len(data) >= 12 and b" " in data and data.isascii() and data.decode().isprintable()  # noqa: PLR2004 # two words
