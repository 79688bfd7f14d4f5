# ruff: noqa: RUF001 - the letters of the table look alike: that is what it is for
"""What a text or a name says once nothing in it hides: no invisible characters, no lookalikes of other letters.

Python's own tables of Unicode differ from version to version. Here only its frozen tables of Unicode 3.2 are used,
and what is spelt out below, so a text gives the same on every Python that is supported.
"""

from __future__ import annotations

import re
from unicodedata import ucd_3_2_0 as unicode_3_2

_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # control characters that are no space
    "\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # what shows as nothing
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f"  # zero width, marks that turn the writing round
    "\ufe00-\ufe0f\ufeff\ufff0-\ufffb\ufffe\uffff"  # variants, byte order, annotations
    "\ud800-\udfff\ue000-\uf8ff"  # surrogates, private use
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff"  # tags, more variants, private use
)
_NEWER = (
    "\u0cf3\u0ece\u2ffc-\u2fff\u31ef\U00010efd-\U00010eff\U0001123f-\U00011241\U00011b00-\U00011b09"
    "\U00011f00-\U00011f59\U0001342f\U00013439-\U00013455\U0001b132\U0001b155\U0001d2c0-\U0001d2d3"
    "\U0001df25-\U0001df2a\U0001e030-\U0001e06d\U0001e08f\U0001e4d0-\U0001e4f9\U0001f6dc\U0001f774-\U0001f776"
    "\U0001f77b-\U0001f77f\U0001f7d9\U0001fa75-\U0001fa77\U0001fa87-\U0001fa88\U0001faad-\U0001faaf"
    "\U0001fabb-\U0001fabd\U0001fabf\U0001face-\U0001facf\U0001fada-\U0001fadb\U0001fae8\U0001faf7-\U0001faf8"
    "\U0002b739\U0002ebf0-\U0002ee5d\U00031350-\U000323af"
)
"""Characters that Unicode 15.0 and 15.1 added to 14.0, which Python 3.11 knows: letters to some Pythons only."""
_TAKEN_OUT = re.compile(f"[\xad{_INVISIBLE}{_NEWER}]")
_STACKED = re.compile("([\u0300-\u036f]{2})[\u0300-\u036f]+")
_MARKS = re.compile("[\u0300-\u036f]")
_INSIDE_WORDS = re.compile(f"(?<=[A-Za-z])[{_INVISIBLE}]+(?=[A-Za-z])")
_TAGS = re.compile("(?<!\U0001f3f4)(?<![\U000e0020-\U000e007f])[\U000e0020-\U000e007f]+")
"""Letters that nobody sees, outside of a flag."""

_ALIKE = {
    "a": "аαɑ",
    "b": "вьƀ",
    "c": "сϲᴄ",
    "d": "ԁđ",
    "e": "еєεҽ",
    "f": "ғƒ",
    "g": "ɡց",
    "h": "нһհħ",
    "i": "іιıɩɪ",
    "j": "јϳ",
    "k": "кκĸ",
    "l": "ӏιłǀⅼ",
    "m": "мϻ",
    "n": "пηոɴ",
    "o": "оοσօøᴏ",
    "p": "рρƿ",
    "q": "ԛգ",
    "r": "гʀ",
    "s": "ѕꜱ",
    "t": "тτŧ",
    "u": "υսᴜц",
    "v": "ѵνᴠ",
    "w": "ѡωԝɯᴡ",
    "x": "хχ×",
    "y": "уүγʏ",
    "z": "ᴢʐƶ",
}
_CAPITALS = str.maketrans("ΝΗΥΒΜΖΕ", "nhybmze")
"""Greek capitals that look like another letter than their small ones do."""
_LETTERS = {ord(other): latin for latin, others in reversed(_ALIKE.items()) for other in others}
"""Lower-case Cyrillic, Greek, Armenian and Latin letters to the plain one that they look like, in either case."""
_FOREIGN = re.compile(f"[{''.join(chr(each) for each in _LETTERS if 0x370 <= each < 0x590)}]")  # noqa: PLR2004 # scripts
_WORD = re.compile(r"\w+")
_ASCII_LETTER = re.compile("[a-z]")
_STROKES = str.maketrans("0135i|!$@", "oleslllsa")
_SEPARATORS = re.compile(r"[\s_.\-·'’]+")


def cleaned(text: str) -> str:
    """Give a text in its plainest characters (NFKC), without what is invisible, on one line.

    Cleaning what is clean changes nothing. What Unicode added lately is left out as well.
    """
    while (clean := _cleaned_once(text)) != text:
        text = clean
    return text


def _cleaned_once(text: str) -> str:
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    visible = _TAKEN_OUT.sub("", " ".join(text.split()))
    return " ".join(_STACKED.sub(r"\1", unicode_3_2.normalize("NFKC", visible)).split())


def folded(text: str) -> str:
    """Give a clean text in lower case, every letter that looks like a Latin one as that one, without accents."""
    lower = text.translate(_CAPITALS).casefold()
    if lower.isascii():
        return lower
    return _MARKS.sub("", unicode_3_2.normalize("NFD", lower)).translate(_LETTERS)


def skeleton(name: str) -> str:
    """Give what a name looks like at a glance: two names with the same skeleton are told apart with care alone."""
    alike = _SEPARATORS.sub("", folded(cleaned(name)).translate(_STROKES))
    return alike.replace("rn", "m").replace("vv", "w")


def hidden(text: str) -> int:
    """Count how often a text hides letters: invisible characters inside words, and letters that are invisible."""
    return len(_INSIDE_WORDS.findall(text)) + 3 * len(_TAGS.findall(text))


def mixed_words(text: str) -> int:
    """Count the words of a clean text that mix Latin letters with lookalikes from other scripts."""
    if text.isascii():
        return 0
    found: list[str] = _WORD.findall(text.casefold())
    return len([word for word in found if _FOREIGN.search(word) and _ASCII_LETTER.search(word)])
