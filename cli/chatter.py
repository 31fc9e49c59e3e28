"""Plausible chat texts in several scripts, for conversations that nobody had.

Plain sentences are the rule. The rest is what breaks a messenger that counts characters, trims or normalises:
right-to-left text, combining marks, joined emoji, spaces at the ends, texts as long as a message may be.
"""

from collections.abc import Callable, Sequence
from random import Random

from core.limits import MESSAGE_BYTES_MAX

_ENGLISH = (
    "morning!", "who broke the build?", "works on my machine", "can someone review this before lunch?",
    "the dashboard says 200 ms, my stopwatch says 2 s", "brb", "lol", "ok, deploying", "rolled back, sorry",
    "did you get my last message?", "see you at 15:00 in the big room", "no.", "that is exactly what I meant",
    "which datacenter are you on?", "fra is cut off again, I can still write though", "thanks!",
    "https://example.org/a?b=c&d=%20#top", "<script>alert(1)</script> is just text here, right?",
    "'; DROP TABLE messages; --", "I said *maybe*", "1 < 2 > 0 & so on", "s/teh/the/", "%s {0} $HOME \\n",
    "[12:34] <nobody> not a line of a log",
)  # fmt: skip
_EUROPEAN = (
    "Grüße aus Köln, schöne Straße hier", "où est passé le café ?", "¿alguien tiene el informe?",
    "zażółć gęślą jaźń", "Доброе утро, сервер снова жив", "обед через пять минут", "καλημέρα σε όλους",
    "příliš žluťoučký kůň", "İstanbul'dan selamlar, ığdır değil", "smørrebrød til frokost?",
)  # fmt: skip
_ASIAN = (
    "おはようございます", "会議は午後三時からです。", "服务器又挂了", "午饭吃什么?",
    "넵, 확인했습니다", "오늘 회의 취소됐어요", "𠮷野家で会おう", "สวัสดีครับ ทุกคน", "नमस्ते, सब ठीक है?", "வணக்கம்",
)  # fmt: skip
_RIGHT_TO_LEFT = (
    "صباح الخير يا جماعة", "متى الاجتماع؟ الساعة 15:00", "שלום לכולם",
    "מי שבר את ה-build שוב?", "سلام، خوبی؟",
)  # fmt: skip
_EMOJI = (
    "👍", "🎉🎉🎉", "👩‍👩‍👧‍👦 weekend", "🏳️‍🌈", "👋🏽 hi", "🇺🇳🇯🇵🇧🇷", "ship it 🚢", "❤️ vs ❤", "1️⃣ 2️⃣ 3️⃣",
)  # fmt: skip
_MARKS = (
    "cafe\u0301 is not café, byte for byte", "Z\u0351\u036b\u0343\u036aa\u034cl\u0489g\u0321o\u0321 comes",
    "a\u0308o\u0308u\u0308", "e\u0323\u0302 and \u1ec7", "\u1100\u1161\u11a8", "zero\u200bwidth\u200djoined",
)  # fmt: skip
_SPACES = (
    "  two before", "two after  ", "\ttab\tseparated\tvalues\t", " . ", "carriage\rreturn",
    "a\u00a0b\u2028c\u2029d\x0be\x0cf\x85g", "\x02bold\x02 \x0304,01red on black\x03 plain",
)  # fmt: skip

_SCRIPTS = (_ENGLISH, _EUROPEAN, _ASIAN, _RIGHT_TO_LEFT, _EMOJI, _MARKS, _SPACES)


def _sentences(scripts: Sequence[Sequence[str]], most: int) -> Callable[[Random], str]:
    def text(rng: Random) -> str:
        return " ".join(rng.choice(rng.choice(scripts)) for _ in range(rng.randint(1, most)))

    return text


def _long(below: int) -> Callable[[Random], str]:
    """A text of up to `below` bytes less than a message may have, exactly as many as drawn."""

    def text(rng: Random) -> str:
        size = MESSAGE_BYTES_MAX - rng.randint(0, below)
        line = _sentences((_ENGLISH, _EUROPEAN, _ASIAN), 12)(rng) + " "
        whole = line * (size // len(line.encode()))
        return whole + "." * (size - len(whole.encode()))

    return text


_KINDS: tuple[tuple[int, Callable[[Random], str]], ...] = (
    (600, _sentences((_ENGLISH,), 3)),
    (120, _sentences((_EUROPEAN,), 3)),
    (80, _sentences((_ASIAN,), 3)),
    (50, _sentences((_RIGHT_TO_LEFT,), 2)),
    (60, _sentences((_EMOJI,), 2)),
    (20, _sentences((_MARKS,), 2)),
    (20, _sentences((_SPACES,), 1)),
    (47, _sentences(_SCRIPTS, 6)),
    (2, _long(4)),
    (1, _long(0)),
)
"""How often, of a thousand, and what."""


def texts(rng: Random, count: int) -> list[str]:
    """So many texts, in random order. Every kind is among them if there are as many as kinds.

    None is empty, none has a line feed or a NUL, none is over the limit of a message; some are exactly at it.
    """
    kinds = [kind for _, kind in _KINDS][:count]
    kinds += rng.choices([kind for _, kind in _KINDS], [often for often, _ in _KINDS], k=count - len(kinds))
    rng.shuffle(kinds)
    return [kind(rng) for kind in kinds]
