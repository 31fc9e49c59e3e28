"""The types of request fields. Ids travel as strings; a message id is beyond 2^53 and so a string of digits.

A text that is too long raises TooLarge (413), everything else a pydantic error that names the field (400).
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from core import ids, limits
from core.emoji import may_react
from core.errors import TooLarge

_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Embeddings, overrides and isolates: in a name they can reorder the text around it."""


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f"


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode, without unpaired surrogates") from error
    return text


def in_a_name(char: str) -> bool:
    """Whether a name may hold this character."""
    return not _is_control(char) and char not in _BIDI


def _no_controls(text: str) -> str:
    if not all(map(in_a_name, text)):
        raise ValueError("must not hold control characters or bidirectional overrides")
    return _encodable(text)


def _one_line(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return _no_controls(text)


def _emoji(text: str) -> str:
    if not may_react(text):
        raise ValueError("must be one emoji, or a short name of small letters, digits, _, + and -")
    return text


def _lines(text: str) -> str:
    if any((_is_control(char) and char not in "\n\t") or char in _BIDI for char in text):
        raise ValueError("must not hold control characters or bidirectional overrides")
    return _encodable(text)


def _message_text(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return _bounded_text(text)


def _bounded_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold NUL")
    most = limits.MESSAGE_BYTES_MAX
    if len(text) > most or (not text.isascii() and len(_encodable(text).encode()) > most):
        raise TooLarge(f"text: at most {most} bytes of UTF-8")
    return text


def _id_range(text: str) -> str:
    if not 0 < int(text) <= ids.ID_MAX:
        raise ValueError("must be a message id")
    return text


def is_id(text: str) -> bool:
    """Of an event, and so of a message."""
    return text.isascii() and text.isdecimal() and len(text) <= 19 and 0 < int(text) <= ids.ID_MAX


def is_sha256(text: str) -> bool:
    return re.fullmatch(_SHA256, text) is not None


UserId = Annotated[str, Field(pattern=r"^U[A-Za-z0-9._-]{1,63}$", description="User id")]
ChatId = Annotated[str, Field(pattern=r"^[GC][0-9]{1,19}$", description="Group (G) or supergroup (C) id")]
ConversationId = Annotated[
    str, Field(pattern=r"^[DGC][0-9]{1,19}$", description="Direct (D), group (G) or supergroup (C) id")
]
Peer = Annotated[
    str,
    Field(
        pattern=r"^(U[A-Za-z0-9._-]{1,63}|[DGC][0-9]{1,19})$",
        description="Whom or what a dialog is with: a user, or a direct, group or supergroup id",
    ),
]
MessageId = Annotated[
    str, Field(pattern=r"^[0-9]{1,19}$", description="Message id, a string of digits"), AfterValidator(_id_range)
]
Revision = Annotated[
    str,
    Field(pattern=r"^[0-9]{1,19}$", description="A draft's `revision`, a string of digits"),
    AfterValidator(_id_range),
]
SessionId = Annotated[str, Field(pattern=r"^s[0-9]{1,19}$", description="Session id")]
InviteId = Annotated[str, Field(pattern=r"^i[0-9]{1,19}$", description="Id of a link into a chat")]
LinkText = Annotated[
    str,
    Field(
        pattern=rf"^PL1\.[A-Za-z0-9._-]{{1,{limits.LINK_CHARS_MAX - 4}}}$",
        description="What lets its bearer into a chat: to be kept from others, and out of addresses",
    ),
]
Entry = Annotated[
    Literal["open", "approval", "closed"],
    Field(
        description="Who comes in by himself: whoever knows the chat's id; whoever asks and is let in; nobody but by a "
        "link or an add"
    ),
]
MEDIA_TYPE = r"^[a-z0-9.+-]{1,63}/[a-z0-9.+-]{1,63}$"
MediaType = Annotated[str, Field(pattern=MEDIA_TYPE, description="Media type, as its sender says")]
_SHA256 = r"^[0-9a-f]{64}$"
Sha256 = Annotated[str, Field(pattern=_SHA256, description="Of its bytes, in hex")]
ScheduledId = Annotated[str, Field(pattern=r"^S[0-9]{1,19}$", description="Id of a message that is to be sent later")]
Device = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="The client's name for its device")]
Handle = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]{2,31}$", description="A name by which everybody finds its user")
]
Provider = Annotated[str, Field(pattern=r"^[a-z0-9._-]{1,32}$", description="Whose push service: apns, fcm, webpush …")]
PushToken = Annotated[
    str, Field(pattern=rf"^[!-~]{{1,{limits.PUSH_TOKEN_CHARS_MAX}}}$", description="What the push service knows it by")
]
Zone = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$", description="An IANA time zone, such as Europe/Berlin")]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM, in that zone")]
Days = Annotated[
    list[Annotated[int, Field(ge=1, le=7)]],
    Field(min_length=1, max_length=7, description="1 = Monday … 7 = Sunday: on which it begins"),
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=limits.NAME_CHARS_MAX, description="One line, in characters"),
    AfterValidator(_one_line),
]
Line = Annotated[str, Field(min_length=1, max_length=limits.LINE_CHARS_MAX), AfterValidator(_one_line)]
Avatar = Annotated[
    str,
    Field(max_length=limits.TEXT_FIELD_CHARS_MAX, description="A file id or an address; empty for none"),
    AfterValidator(_no_controls),
]
About = Annotated[str, Field(max_length=limits.TEXT_FIELD_CHARS_MAX, description="Free text"), AfterValidator(_lines)]
Password = Annotated[str, Field(min_length=8, max_length=limits.TEXT_FIELD_CHARS_MAX), AfterValidator(_encodable)]
Text = Annotated[
    str,
    Field(description=f"1 to {limits.MESSAGE_BYTES_MAX} bytes of UTF-8, without NUL", min_length=1),
    AfterValidator(_message_text),
]
Caption = Annotated[
    str,
    Field(description=f"At most {limits.MESSAGE_BYTES_MAX} bytes of UTF-8, without NUL"),
    AfterValidator(_bounded_text),
]
Mentions = Annotated[
    list[Annotated[str, Field(pattern=r"^(U[A-Za-z0-9._-]{1,63}|all)$")]],
    Field(
        max_length=limits.MENTIONS_MAX,
        description="Users of the conversation who are told that they are meant; `all` for a group's members",
    ),
]
Emoji = Annotated[
    str,
    Field(
        min_length=1,
        max_length=limits.EMOJI_CHARS_MAX,
        description="One emoji, in code points, or a short name of a picture: small letters, digits, _ + -",
    ),
    AfterValidator(_emoji),
]
Users = Annotated[list[UserId], Field(max_length=limits.SUPERGROUP_ADD_MAX, description="User ids; doubles count once")]
Rank = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-z]{0,63}[1-9a-z]$",
        description="Place among the pinned: digits of a fraction in base 36, so there is room between any two",
    ),
]
UntilMs = Annotated[int, Field(ge=0, le=(1 << 53) - 1, description="Absolute time, milliseconds since 1970-01-01 UTC")]
