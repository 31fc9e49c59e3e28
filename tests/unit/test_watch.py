"""What `planb watch` prints: people and chats by name, each asked for once."""

import re
from argparse import Namespace
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cli import watch
from cli.called import KEPT_MAX, Called
from cli.watch import as_line
from core.errors import Unavailable
from planb_sdk import ApiError, Chat, Dialog, Profile, Unreachable, Update

TITLE = "Lunch \x1b[2J today"


class Someone:
    """A client that knows two people, a chat and a direct talk."""

    user = "Ume"

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.names = {"Uada": "Ada", "Ubob": "Bob"}
        self.away = False

    async def profile(self, user: str) -> Profile:
        self._ask(user)
        return Profile(user, self.names[user], "", "")

    async def chat(self, chat: str) -> Chat:
        self._ask(chat)
        return Chat(chat, "group", TITLE, "", "", "Uada", "Uada", "open", False)

    async def dialogs(self) -> AsyncIterator[Dialog]:
        self._ask("dialogs")
        ada = Profile("Uada", "Ada", "", "")
        yield Dialog("D1", "direct", ada, None, True, None, False, 0, False, None, None, False, None, 0, False, {}, {})

    def _ask(self, id: str) -> None:
        self.asked[id] += 1
        if self.away:
            raise Unreachable("nobody answers")
        if id not in ("dialogs", "G1", *self.names):
            raise ApiError(404, {"code": "not_found"})


@pytest.fixture
def client() -> Any:
    return Someone()


def message(conversation: str, sender: str, text: str | None = "hi") -> Update:
    body = {"id": "1", "conversation": conversation, "from": sender, "key": "k", "class": "c", "text": text,
            "edited": None, "recalled": text is None, "reactions": {"👍": ["Uada", "Ubob"]}, "reply_to": None,
            "system": False}  # fmt: skip
    return Update("message", "1", 1, None, {"message": body})


async def told(update: Update, called: Called) -> str:
    """Without the time."""
    return (await as_line(update, called))[10:]


async def test_people_and_chats_are_called_by_their_names_and_asked_for_once(client: Any) -> None:
    called = Called(client)
    for _ in range(3):
        assert await told(message("G1", "Uada"), called) == 'message   “Lunch  [2J today”  Ada: "hi" 👍×2'
        assert await told(message("D1", "Ume", None), called) == "message   Ada  you: (recalled) 👍×2"
        assert await told(message("D2", "Ubob"), called) == 'message   Bob  Bob: "hi" 👍×2'
        assert await told(message("D2", "Ume"), called) == 'message   Bob  you: "hi" 👍×2'
    assert client.asked == {"Uada": 1, "Ubob": 1, "G1": 1, "dialogs": 1}


async def test_a_name_that_changed_is_asked_for_again(client: Any) -> None:
    called = Called(client)
    assert await called.user("Uada") == "Ada"
    client.names["Uada"] = "Countess"
    assert await called.user("Uada") == "Ada"
    await told(Update("user", "2", 2, None, {"user": {"id": "Uada"}}), called)
    assert await called.user("Uada") == "Countess"


async def test_who_can_not_be_asked_for_is_called_by_his_id(client: Any) -> None:
    called = Called(client)
    assert await called.user("Uzoe") == await called.user("Uzoe") == "Uzoe"
    assert client.asked["Uzoe"] == 1
    client.away = True
    assert await called.conversation("G1") == "G1"
    client.away = False
    assert await called.conversation("G1") == "“Lunch  [2J today”", "asked again when it can be"


async def test_what_is_kept_is_bounded(client: Any) -> None:
    called = Called(client)
    for n in range(2 * KEPT_MAX + 1):
        await called.user(f"U{n}")
    assert len(called._names) <= KEPT_MAX


async def test_members_and_chats_are_told_in_words(client: Any) -> None:
    called = Called(client)

    def member(present: bool, role: str) -> Update:
        return Update("member", "1", 1, None, {"chat": "G1", "user": "Uada", "present": present, "role": role})

    title = "“Lunch  [2J today”"
    assert await told(member(True, "admin"), called) == f"member    {title}  in it now: Ada, as admin"
    assert await told(member(True, ""), called) == f"member    {title}  in it now: Ada"
    assert await told(member(False, ""), called) == f"member    {title}  not in it any more: Ada"
    chat = {"id": "G1", "kind": "group", "title": "x", "about": "", "avatar": "", "creator": "Uada"}
    chat |= {"owner": "Uada", "entry": "open"}
    gone = Update("chat", "1", 1, None, {"chat": chat | {"dissolved": True}})
    assert await told(gone, called) == f"chat      {title}  dissolved"
    missing = Update("chat", "1", 1, None, {"chat": {"id": "G1", "missing": True}})
    assert await told(missing, called) == 'chat      {"chat": {"id": "G1", "missing": true}}'
    assert await told(Update("reset", "1", 1, None, {}), called) == "reset     {}"


async def test_who_waits_for_a_datacenter_that_is_down_is_told_for_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(watch.TOKEN, "PB1.x")
    monkeypatch.setattr(watch, "SILENT_S_MAX", 0.05)
    monkeypatch.setattr(watch, "FIRST_ANSWER_S_MAX", 1.0)
    with pytest.raises(Unavailable, match=re.escape("no answer from http://127.0.0.1:9. Does it run")):
        await watch.run(Namespace(urls=["http://127.0.0.1:9"], json=False))
    assert capsys.readouterr().err == "no answer from http://127.0.0.1:9 yet; it is asked for 1 s at most\n"


async def test_a_line_about_a_chat_is_put_into_words(client: Any) -> None:
    called = Called(client)
    for content, words in (
        ({"what": "member.add", "users": ["Ubob", "Ume"]}, "added Bob, you"),
        ({"what": "member.leave", "users": ["Uada"]}, "left"),
        ({"what": "group.create", "new": {"title": "Tea"}}, "created the group"),
        ({"what": "group.update", "old": {"title": "A"}, "new": {"title": "B"}}, 'changed title from "A" to "B"'),
        ({"what": "chat.owner", "users": ["Ubob"], "old": {"owner": "Uada"}, "new": {"owner": "Ubob"}},
         "handed the chat over to Bob"),
        ({"what": "chat.painted", "users": ["Ubob"]}, "chat.painted Bob"),
    ):  # fmt: skip
        update = message("G1", "Uada", "")
        update.body["message"] |= {"system": True, "content": {"kind": "system"} | content, "reactions": {}}
        assert await told(update, called) == f"message   “Lunch  [2J today”  Ada {words}"
