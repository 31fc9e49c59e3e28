"""IRC logs of three clients become steps: to the byte, every line counted once, whatever is in the file."""

import codecs
import time
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.conversation import Conversation, Join, Kick, Part, Refusal, Say, Step, generate, with_membership
from cli.irc import account, parse, parse_file, render_mirc
from cli.irc_lines import Other, read_line, valid_nick
from core.limits import MESSAGE_BYTES_MAX, NAME_CHARS_MAX


def read(log: bytes) -> Conversation:
    return parse(BytesIO(log), "log")


def said(log: bytes) -> list[tuple[str, str]]:
    return [(step.nick, step.text) for step in read(log).steps if isinstance(step, Say)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[12:34] <nick> text", Say("nick", "text")),
        ("[12:34:56] <nick> text", Say("nick", "text")),
        ("[12:34] <@nick> text", Say("nick", "text")),
        ("[12:34] <+nick> text", Say("nick", "text")),
        ("[12:34] <@+nick> text", Say("nick", "text")),
        ("[12:34] <%nick> text", Say("nick", "text")),
        ("[12:34] <\x0304nick\x03> text", Say("nick", "text")),
        ("[12:34] <@\x0304,01nick\x0f> text", Say("nick", "text")),
        ("\x0301[12:34] <nick> text", Say("nick", "text")),
        ("[12:34] <[x]> text", Say("[x]", "text")),
        ("[12:34] <x|away> text", Say("x|away", "text")),
        ("[12:34] <x^> text", Say("x^", "text")),
        ("[12:34] <{x}> text", Say("{x}", "text")),
        ("[12:34] <_`\\-> text", Say("_`\\-", "text")),
        ("[12:34] <Лена> да", Say("Лена", "да")),
        ("[12:34] <nick> <other> quoted> text", Say("nick", "<other> quoted> text")),
        ("[12:34] <nick> * Joins: nobody (x@y)", Say("nick", "* Joins: nobody (x@y)")),
        ("[12:34] <nick> /me waves", Say("nick", "/me waves")),
        ("[12:34] * nick waves", Say("nick", "/me waves")),
        ("[12:34] * @nick  two  spaces ", Say("nick", "/me  two  spaces ")),
        ("[12:34] * [x] was kicked by a horse", Say("[x]", "/me was kicked by a horse")),
        ("[12:34] * nick is now known as the one who knows", Say("nick", "/me is now known as the one who knows")),
        ("[12:34] * nick sets mode: +o other", Other.SKIPPED),
        ("[12:34] * nick changes topic to 'x'", Other.SKIPPED),
        ("[12:34] * Topic is 'x y'", Other.SKIPPED),
        ("[12:34] * Set by nick on Wed Aug 02", Other.SKIPPED),
        ("[12:34] * Now talking in #c", Other.SKIPPED),
        ("[12:34] * You were kicked by nick (x)", Other.SKIPPED),
        ("[12:34] * Disconnected", Other.SKIPPED),
        ("[12:34] * nick", Other.SKIPPED),
        ("[12:34] * /dns nick", Other.SKIPPED),
        ("[12:34] *** nick waves", Other.SKIPPED),
        ("[12:34] -nick- a notice", Other.SKIPPED),
        ("[12:34] <two words> text", Other.SKIPPED),
        ("[12:34] <@> text", Other.SKIPPED),
        ("[12:34] <nick>text", Other.SKIPPED),
        ("[12:34] ", Other.SKIPPED),
        ("[12:34] <nick> ", Other.EMPTY),
        ("[12:34] <nick>", Other.EMPTY),
        ("[12:34] <nick>  ", Say("nick", " ")),
        ("[12:34] * Joins: nick (user@host)", Join("nick")),
        ("[12:34:56] * Joins: @[x] (user@host)", Join("[x]")),
        ("[12:34] * Joins: nick", Join("nick")),
        ("\x0303[12:34] * Joins: nick (user@host)", Join("nick")),
        ("[12:34] \x0303* Joins: nick (user@host)", Join("nick")),
        ("[12:34] *** Joins: nick (user@host)", Join("nick")),
        ("[12:34] * nick (user@host) has joined #c", Join("nick")),
        ("[12:34] * Parts: nick (user@host)", Part("nick")),
        ("[12:34] * Parts: nick (user@host) (bye (now))", Part("nick")),
        ("[12:34] * nick (user@host) has left #c (bye)", Part("nick")),
        ("[12:34] * Quits: nick (user@host) (Ping timeout)", Part("nick")),
        ("[12:34] * nick (user@host) Quit (Ping timeout)", Part("nick")),
        ("[12:34] * x was kicked by y (reason (here))", Kick("x", "y")),
        ("[12:34] * x was kicked by y", Kick("x", "y")),
        ("Session Start: Wed Aug 02 00:00:00 2006", Other.MARKER),
        ("Session Close: Wed Aug 02 00:00:00 2006", Other.MARKER),
        ("Session Ident: #c", Other.MARKER),
        ("Session Time: Thu Aug 03 00:00:00 2006", Other.MARKER),
        ("\x0301Session Time: Thu Aug 03 00:00:00 2006", Other.MARKER),
        ("Session of the parliament", Other.SKIPPED),
    ],
)
def test_a_line_of_mirc(line: str, expected: Step | Other) -> None:
    assert read_line(line) == (expected if isinstance(expected, Other) else (expected,))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("12:34 <nick> text", Say("nick", "text")),
        ("12:34:56 <nick> text", Say("nick", "text")),
        ("12:34 < nick> text", Say("nick", "text")),
        ("12:34 <@nick> text", Say("nick", "text")),
        ("12:34 <+[x]> text", Say("[x]", "text")),
        ("12:34 < x|away>  -!- text", Say("x|away", " -!- text")),
        ("12:34  * nick waves", Say("nick", "/me waves")),
        ("12:34 * nick Topic is", Say("nick", "/me Topic is")),
        ("12:34  * nick", Other.EMPTY),
        ("12:34 < nick> ", Other.EMPTY),
        ("12:34 -!- nick [user@host] has joined #c", Join("nick")),
        ("12:34 -!- [x] [~user@2001:db8::1] has joined #c", Join("[x]")),
        ("12:34 -!- nick [user@host] [account] has joined #c", Join("nick")),
        ("12:34 -!- nick [user@host] has left #c [bye]", Part("nick")),
        ("12:34 -!- nick [user@host] has left #c []", Part("nick")),
        ("12:34 -!- nick [user@host] has quit [Quit: it has joined #c]", Part("nick")),
        ("12:34 -!- nick was kicked from #c by op [reason]", Kick("nick", "op")),
        ("12:34 -!- nick was kicked from #c by op", Kick("nick", "op")),
        ("12:34 -!- mode/#c [+o nick] by op", Other.SKIPPED),
        ("12:34 -!- nick changed the topic of #c to: has joined #c", Other.SKIPPED),
        ("12:34 -!- Irssi: #c: Total of 2 nicks", Other.SKIPPED),
        ("12:34 -!- Netsplit a.net <-> b.net quits: x, y", Other.SKIPPED),
        ("12:34 -!- You're now known as nick", Other.SKIPPED),
        ("12:34 -nick:#c- notice", Other.SKIPPED),
        ("--- Log opened Tue Nov 19 23:51:34 2002", Other.MARKER),
        ("--- Log closed Tue Nov 19 23:51:34 2002", Other.MARKER),
        ("--- Day changed Wed Nov 20 2002", Other.MARKER),
        ("--- something else", Other.SKIPPED),
    ],
)
def test_a_line_of_irssi(line: str, expected: Step | Other) -> None:
    assert read_line(line) == (expected if isinstance(expected, Other) else (expected,))


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("nick\ttext", Say("nick", "text")),
        ("@nick\ttext", Say("nick", "text")),
        ("+{x}\t\ttext\t", Say("{x}", "\ttext\t")),
        ("nick\t text ", Say("nick", " text ")),
        ("nick\t", Other.EMPTY),
        ("nick", Other.SKIPPED),
        (" *\tnick waves", Say("nick", "/me waves")),
        (" *\tnick", Other.EMPTY),
        ("-->\tnick (user@host) has joined #c", Join("nick")),
        ("-->\tnick has joined #c", Join("nick")),
        ("-->\tnick [account] (Real (Name)) (user@host) has joined #c", Join("nick")),
        ("<--\tnick (user@host) has left #c", Part("nick")),
        ("<--\tnick (user@host) has left #c (bye)", Part("nick")),
        ("<--\tnick (user@host) has quit (Quit: x has kicked y)", Part("nick")),
        ("<--\top has kicked [x] (reason)", Kick("[x]", "op")),
        ("<--\top has kicked x", Kick("x", "op")),
        ("-->\tnick waves", Other.SKIPPED),
        ("<--\tnick waves", Other.SKIPPED),
        ("--\tMode #c [+o nick] by op", Other.SKIPPED),
        ("--\tYou are now known as nick", Other.SKIPPED),
        ("=!=\tan error", Other.SKIPPED),
        ("\tno prefix", Other.SKIPPED),
        ("\t****  Beginning of log  ****", Other.MARKER),
    ],
)
def test_a_line_of_weechat(rest: str, expected: Step | Other) -> None:
    line = f"2024-02-29 12:34:56\t{rest}"
    assert read_line(line) == (expected if isinstance(expected, Other) else (expected,))


@pytest.mark.parametrize(
    "line",
    [
        "[12:34] * x is now known as [y]",
        "12:34 -!- x is now known as [y]",
        "2024-02-29 12:34:56\t--\tx is now known as [y]",
    ],
)
def test_a_rename_is_a_part_and_a_join(line: str) -> None:
    assert read_line(line) == (Part("x"), Join("[y]"))


def test_what_is_no_log_is_skipped_and_counted() -> None:
    log = read(b"hello\n\n   \n12:34\n{'json': 1}\n[12:34] <nick> text\n")
    assert (log.lines, log.events, log.skipped) == (5, 1, 4)


def test_formats_may_be_mixed_in_one_file() -> None:
    log = b"[12:34] <a> 1\r\n12:35 < b> 2\n2024-02-29 12:36:00\t@c\t3\n[12:37:00] <a> 4"
    assert said(log) == [("a", "1"), ("b", "2"), ("c", "3"), ("a", "4")]


def test_joins_parts_and_kicks_become_a_membership_that_adds_up() -> None:
    log = read(
        b"Session Start: now\n"
        b"[12:00] * Joins: a (a@h)\n"
        b"[12:00] * Joins: a (a@h)\n"
        b"[12:01] <b> hi\n"
        b"[12:02] * a was kicked by op (x)\n"
        b"[12:03] * Quits: c (c@h) (gone)\n"
        b"[12:04] * b is now known as b|away\n"
        b"[12:05] <b|away> bye\n"
    )
    assert log.steps == (
        Join("a"), Join("b"), Say("b", "hi"), Join("op"), Kick("a", "op"),
        Part("b"), Join("b|away"), Say("b|away", "bye"),
    )  # fmt: skip
    assert log.nicks == ("a", "b", "op", "b|away")
    assert (log.lines, log.events, log.markers, log.inserted, log.dropped) == (8, 7, 1, 2, 2)


def test_the_account_of_a_log_adds_up() -> None:
    log = b"--- Log opened\n12:00 -!- bob [x] has joined #c\n12:00 <bob> hi\n12:01 <bob>\n?\n12:02 <bob> \x00\n"
    assert account(read(log)) == (
        "log: 6 lines, 1 messages of 1 people, 1 joins, parts and kicks, 1 of no known form, 1 about the log, "
        "1 without a text, 1 refused"
    )


def test_a_text_survives_to_the_byte() -> None:
    text = "  \t two \x0304,01red\x03 \x02bold\x02 a\x0bb\x0cc\x85d\u2028e\u2029f\x1cg\rh \u00a0 e\u0301 \ufeff  "
    log = f"[12:34] <a> {text}\r\n12:34 <a> {text}\n2024-02-29 12:34:56\ta\t{text}".encode()
    assert said(log) == [("a", text)] * 3


def test_only_the_terminator_is_dropped() -> None:
    assert said(b"12:34 <a> x\r\r\n12:34 <a> x\r\n12:34 <a> x\n12:34 <a> x\r") == [
        ("a", "x\r"), ("a", "x"), ("a", "x"), ("a", "x\r"),
    ]  # fmt: skip


def test_each_line_has_its_own_encoding() -> None:
    log = "12:34 <é> café\n".encode() + "12:34 <é> café €\n".encode("cp1252")
    assert said(log) == [("é", "café"), ("é", "café €")]


def test_the_undefined_bytes_of_cp1252_are_c1_controls() -> None:
    assert said(b"12:34 <a> \x81\x8d\x8f\x90\x9d\xff\n") == [("a", "\x81\x8d\x8f\x90\x9d\xff")]


def test_surrogates_in_utf8_are_read_as_cp1252() -> None:
    assert said(b"12:34 <a> \xed\xa0\x80\n") == [("a", "\u00ed\u00a0\u20ac")]


def test_a_byte_order_mark_is_dropped_also_between_joined_files() -> None:
    log = codecs.BOM_UTF8 + b"12:34 <a> x\n"
    assert said(log + log) == [("a", "x"), ("a", "x")]
    assert read(codecs.BOM_UTF8).lines == 0


@pytest.mark.parametrize(("mark", "encoding"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")])
def test_utf16_with_a_byte_order_mark_is_decoded(mark: bytes, encoding: str) -> None:
    # U+0A0A has the byte of a line feed twice, the emoji needs a pair.
    text = "\u0a0a\u010a\u0a01 😀 é" * 20_000
    log = mark + f"12:34 <a> x\r\n\r\n12:34 <ж> {text[:4000]}\n12:34 <b> {text}\n12:34 <a> end".encode(encoding)
    assert said(log) == [("a", "x"), ("ж", text[:4000]), ("a", "end")]
    assert [(refusal.line, refusal.nick) for refusal in read(log).refused] == [(4, "b")]


def test_half_a_character_of_utf16_is_refused_not_changed() -> None:
    log = codecs.BOM_UTF16_LE + "12:34 <a> x\ud83dy\n12:34 <a> x\n12:34 <a> x".encode("utf-16-le", "surrogatepass")
    assert read(log).refused == (Refusal("log", 1, "a", 5, "surrogate"),)
    assert [refusal.line for refusal in read(log + b"\n").refused] == [1, 3]


@pytest.mark.parametrize("sign", ["x", "é", "語", "😀"])
def test_a_text_at_the_limit_is_kept_and_one_byte_more_is_refused_by_name(sign: str, tmp_path: Path) -> None:
    size = len(sign.encode())
    text = sign * (MESSAGE_BYTES_MAX // size)
    text += "." * (MESSAGE_BYTES_MAX - len(text.encode()))
    path = tmp_path / "chat.2024.log"
    path.write_bytes(f"12:34 <a> {text}\n\n12:34 <[b]> {text}.\r\n12:34 <a> on\n".encode())
    log = parse_file(path)
    assert log.name == "chat.2024"
    assert log.steps == (Join("a"), Say("a", text), Say("a", "on"))
    assert log.refused == (Refusal(str(path), 3, "[b]", MESSAGE_BYTES_MAX + 1, "too_long"),)
    assert (log.lines, log.events) == (3, 2)


def test_an_action_is_measured_as_it_would_be_sent() -> None:
    text = b"x" * (MESSAGE_BYTES_MAX - len("/me "))
    log = read(b"[12:34] * a " + text + b"\n[12:34] * a " + text + b"x\n")
    assert (log.messages, len(log.refused)) == (1, 1)


def test_a_text_with_a_nul_is_refused_by_name() -> None:
    assert read(b"12:34 <a> x\0y\n").refused == (Refusal("log", 1, "a", 3, "nul"),)


def test_a_message_without_text_has_its_own_count() -> None:
    log = read(b"12:34 <a> \n[12:34] <a>\r\n2024-02-29 12:34:56\ta\t\n12:34 <a>  \n")
    assert (log.empty, log.skipped, log.messages) == (3, 0, 1)


def test_a_nick_longer_than_a_name_is_no_nick() -> None:
    longest = "x" * NAME_CHARS_MAX
    log = read(f"12:34 <{longest}> 1\n12:34 <{longest}x> 2\n".encode())
    assert (log.nicks, log.skipped) == ((longest,), 1)


def test_an_empty_file_is_an_empty_conversation() -> None:
    assert read(b"") == Conversation("log", (), ())


_ODD = (
    "[x]",
    "x|away",
    "x^",
    "{x}",
    "-x-",
    "_",
    "`\\`",
    "Лена",
    "小林",
    "Joins",
    "You",
    "is",
    "was",
    "x" * NAME_CHARS_MAX,
)
_NICKS = st.one_of(
    st.sampled_from(_ODD),
    st.text("ab[]{}|^`\\_-09", min_size=1, max_size=9),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=9),
).filter(lambda nick: valid_nick(nick) and ":" not in nick)
_TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1),
    st.text(" \t\r<>*[]():-!#@+\x03\x85\u2028xé", min_size=1),
)


@st.composite
def _conversations(draw: st.DrawFn) -> Conversation:
    nick = st.sampled_from(draw(st.lists(_NICKS, min_size=1, max_size=4)))
    step = st.one_of(
        st.builds(Say, nick, _TEXTS), st.builds(Join, nick), st.builds(Part, nick), st.builds(Kick, nick, nick)
    )
    normal = with_membership(draw(st.lists(step, max_size=12)))
    return Conversation("log", normal.steps, normal.nicks)


def _irssi(step: Step) -> str:
    match step:
        case Say(nick, text):
            return f"12:34 < {nick}> {text}\r\n"
        case Join(nick):
            return f"12:34 -!- {nick} [~u@h] has joined #c\r\n"
        case Part(nick):
            return f"12:34 -!- {nick} [~u@h] has left #c [bye]\r\n"
        case Kick(nick, by):
            return f"12:34 -!- {nick} was kicked from #c by {by} [x]\r\n"


def _weechat(step: Step) -> str:
    match step:
        case Say(nick, text):
            rest = f"@{nick}\t{text}"
        case Join(nick):
            rest = f"-->\t{nick} (~u@h) has joined #c"
        case Part(nick):
            rest = f"<--\t{nick} (~u@h) has quit (bye)"
        case Kick(nick, by):
            rest = f"<--\t{by} has kicked {nick} (x)"
    return f"2024-02-29 12:34:56\t{rest}\r\n"


@given(_conversations())
def test_what_was_rendered_is_read_back(conversation: Conversation) -> None:
    logs = (
        render_mirc(conversation),
        "".join(map(_irssi, conversation.steps)).encode(),
        "".join(map(_weechat, conversation.steps)).encode(),
        codecs.BOM_UTF16_LE + "".join(map(_irssi, conversation.steps)).encode("utf-16-le"),
    )
    for log in logs:
        again = read(log)
        assert (again.steps, again.nicks) == (conversation.steps, conversation.nicks)
        assert again.events == again.lines == len(conversation.steps)
        assert again.inserted == again.dropped == 0


def test_generated_channels_are_rendered_and_read_back() -> None:
    for conversation in generate(11, 2_000):
        if conversation.kind == "channel":
            assert read(render_mirc(conversation)).steps == conversation.steps


@pytest.mark.parametrize(
    "step", [Say("a b", "x"), Say("@a", "x"), Say("a", ""), Say("a", "x\ny"), Join("Joins:"), Kick("a", "<b>")]
)
def test_what_no_log_can_hold_is_refused_by_name(step: Step) -> None:
    with pytest.raises(ValueError, match="step 0"):
        render_mirc(Conversation("log", (step,), (step.nick,)))


_PIECES = st.sampled_from(
    [b"[12:34] ", b"12:34 ", b"2024-02-29 12:34:56\t", b"<", b">", b"a", b" ", b"\t", b"* ", b"-!- ", b"-->\t",
     b"<--\t", b"--\t", b" has joined #c", b" was kicked by b", b" is now known as b", b"Session Start:", b"\0",
     b"Joins: ", b"\xe9", b"\xff\xfe", b"\r", b"\n", b"--- Log opened", b"x" * MESSAGE_BYTES_MAX, codecs.BOM_UTF8]
)  # fmt: skip


@given(st.one_of(st.binary(max_size=300), st.lists(_PIECES, max_size=40).map(b"".join)))
@example(codecs.BOM_UTF16_LE)
@example(codecs.BOM_UTF16_BE + b"\xd8")
@example(codecs.BOM_UTF16_LE + b"\xff\xfe\n")
def test_no_bytes_raise_and_every_line_is_counted_once(log: bytes) -> None:
    for content in (log, codecs.BOM_UTF16_LE + log, codecs.BOM_UTF16_BE + log):
        read_back = read(content)
        assert read_back.lines == (
            read_back.events + read_back.skipped + read_back.markers + read_back.empty + len(read_back.refused)
        )
        again = with_membership(read_back.steps)
        assert again == (read_back.steps, read_back.nicks, 0, 0)
    if not log.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raws = [raw.removesuffix(b"\r") for raw in log.split(b"\n")[:-1]] + [log.split(b"\n")[-1]]
        assert read(log).lines == sum(raw.removeprefix(codecs.BOM_UTF8) != b"" for raw in raws)


def test_a_hundred_thousand_lines_take_seconds() -> None:
    line = "[12:34] <nick{}> text number {} of a log, neither short nor very long\r\n"
    log = "".join(line.format(number % 50, number) for number in range(100_000)).encode()
    began = time.process_time()
    assert read(log).messages == 100_000
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "line",
    [
        "[12:34] * " + "a" * 10 + " (" + "@" * 400_000,
        "[12:34] * a" + " was kicked by b" * 30_000,
        "[12:34] * a" + " is now known as" * 30_000,
        "[12:34] <" + "<" * 400_000,
        "[12:34] <" + "\x03" * 400_000 + "> x",
        "[12:34] * a (" + " (" * 200_000,
        "12:34 -!- a" + " [x]" * 100_000,
        "12:34 -!- a [" + "]" * 400_000,
        "12:34 -!- a has left" + " [" * 200_000 + "\n",
        "2024-02-29 12:34:56\t-->\ta (" + ") has joined #c" * 30_000,
        "2024-02-29 12:34:56\t<--\ta" + " has kicked" * 40_000,
        "2024-02-29 12:34:56\t" + " " * 400_000 + "\tx",
        " " * 400_000,
    ],
)
def test_a_hostile_line_costs_no_more_than_its_length(line: str) -> None:
    began = time.process_time()
    read_line(line)
    assert time.process_time() - began < 1
