"""Answers as text: what is wrong stands first, and nothing that an answer holds is lost silently."""

from argparse import Namespace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli import internal_side, text
from cli.damages import described
from cli.main import parser
from cli.problems import problems
from cli.units import size
from core.errors import Corrupt, LogUnavailable
from replicator.names import DcNames
from snapshot.damage import Damaged
from tests.support.markdown import ROOT

NOW_MS = 1_795_868_618_272
STATUS: dict[str, Any] = {
    "dc": "fra",
    "incarnation": 0,
    "epoch": 7,
    "now_ms": NOW_MS,
    "lanes": ["fra/0.0", "fra/0.3"],
    "written": ["fra/0.0"],
    "missing": {},
    "durable": {"fra/0.0": 1_234, "fra/0.3": 5, "iad/0.0": 20},
    "applied": {"fra/0.0": 1_234, "fra/0.3": 5, "iad/0.0": 17},
    "lag_ms": {"iad": {"p50_ms": 12, "p99_ms": 40}},
    "peers": {
        "iad": {
            "link": "ok",
            "since_ms": NOW_MS - 18_272,
            "error": "",
            "last_error": "old",
            "pulled_us_ms": NOW_MS - 900,
        },
        "nrt": {"link": "failed", "since_ms": 1_795_868_378_272, "error": "no route", "last_error": "no route"},
    },
    "parked": 2,
    "replication": {"behind": {}, "blocked": {}, "forked": {}, "holes": {}, "repair_error": ""},
    "queues": {"inbox": 0, "long_polls": 3},
    "stores": {"log": "ok", "stores": "ok"},
    "disks": {"data_dir": {"folder": "/data", "free_bytes": 7 * 10**9, "bytes": 10**10, "error": ""}},
    "counters": {"events": 5_000},
    "clock": {"error_ms": None, "refuses": "", "far_ahead": {}},
    "coordination": {
        "kind": "etcd http://10.0.1.9:2379",
        "refuses": "",
        "trouble": "",
        "left_ms": 8_210,
        "held": {"leader/cron": 31, "process": 29, "worker/0": 30},
        "leaders": {"cron": {"process": "process 7 on fra-1", "term": 31}},
        "processes": [
            {
                "id": "a",
                "role": "all",
                "state": "serving",
                "host": "fra-1",
                "pid": 7,
                "public_url": "http://fra-1:8080",
                "sys_url": "http://fra-1:8081",
                "since_ms": 1_795_868_378_272,
            },
            {
                "id": "b",
                "role": "all",
                "state": "standby",
                "host": "fra-2",
                "pid": 9,
                "public_url": "http://fra-2:8080",
                "sys_url": "http://fra-2:8081",
                "since_ms": 1_795_868_378_272,
            },
            {
                "id": "c",
                "role": "sys",
                "state": "serving",
                "host": "fra-3",
                "pid": 11,
                "public_url": "",
                "sys_url": "http://fra-3:8081",
                "since_ms": 1_795_868_378_272,
            },
        ],
    },
}


def shown(command: str, answer: dict[str, Any], verb: str = "") -> list[str]:
    return text.of(Namespace(command=command, verb=verb), answer).split("\n")


def test_a_status_begins_with_what_is_wrong() -> None:
    found = problems(STATUS, "fra.toml")
    assert found == [
        "link to nrt has failed for 240 s: no route",
        "2 events can't be applied by this version: planb parked list --config fra.toml",
    ]
    lines = shown("status", {"problems": found, **STATUS})
    assert lines[:3] == ["fra: 2 problems", f"  ✗ {found[0]}", f"  ✗ {found[1]}"]
    assert "  iad/0.0       17     20       3" in lines
    assert "  fra/0.0    1,234  1,234       0  now" in lines
    assert "  fra/0.3        5      5       0" in lines, "its process is gone"
    assert "disks: data_dir 7.0 GB free of 10.0 GB" in lines
    assert "  process 9 on fra-2   all   standby  http://fra-2:8080  2026-11-28 12:19:38" in lines
    assert "  process 11 on fra-3  sys   serving  http://fra-3:8081  2026-11-28 12:19:38" in lines
    assert "lease: for 8.2 s unless renewed, etcd http://10.0.1.9:2379" in lines
    assert "process 7 on fra-1 leads cron (term 31)" in lines
    assert any(line.split()[:2] == ["iad", "ok"] and line.split()[-2:] == ["12", "40"] for line in lines)


def test_no_figure_of_a_status_reads_as_if_data_were_gone() -> None:
    """A write that came when a newer one stood there is no loss: nobody is to think so at 3 a.m."""
    applier = SimpleNamespace(applied_events=5, superseded_writes=2, queued=0)
    other: Any = SimpleNamespace(shown=dict)
    figures = internal_side.figures(cast(Any, applier), other, other, other, other, other, other, None, other)
    lines = shown("status", {"problems": [], **STATUS, "counters": figures.counters()})
    (counters,) = (line for line in lines if line.startswith("since the start: "))
    assert counters == "since the start: events 5, superseded writes 2"
    assert not any("lost" in line for line in lines)


def test_a_status_without_problems_says_so() -> None:
    well = STATUS | {"parked": 0, "peers": {"iad": STATUS["peers"]["iad"]}}
    assert problems(well, "fra.toml") == []
    assert shown("status", {"problems": [], **well})[0] == "fra: all is well"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stores": {"log": "the log does not answer", "archive": "ok"}}, "log: the log does not answer"),
        (
            {"disks": {"data_dir": {"folder": "/d", "free_bytes": 2_000_000, "bytes": 10**10, "error": ""}}},
            "data_dir /d is nearly full: 2.0 MB left of 10.0 GB",
        ),
        (
            {"disks": {"objects_dir": {"folder": "/o", "free_bytes": 0, "bytes": 0, "error": "No such file"}}},
            "objects_dir /o: No such file",
        ),
        (
            {"missing": {"hot": "the hot store does not answer"}},
            "may not come here (hot): the hot store does not",
        ),
        ({"missing": {"log": "x"}, "stores": {"log": "the log does not answer"}}, "log: the log does not answer"),
        ({"replication": {"forked": {"iad/0.0": "x"}}}, "iad/0.0 is forked"),
        ({"replication": {"blocked": {"iad/0.0": {"after": 5, "reason": "why", "tries": 2}}}}, "blocked after 5: why"),
        ({"replication": {"holes": {"iad/0.0": [[1, 2]]}}}, "records of iad/0.0 are missing"),
        ({"replication": {"repair_error": "nobody has them"}}, "nobody has them"),
        ({"replication": {"behind": {"iad/0.0": 5_000}}}, "5,000 records"),
        ({"clock": {"refuses": "it is 900 ms ahead", "error_ms": 900}}, "writes are refused: it is 900 ms ahead"),
        ({"coordination": {"refuses": "this process does not hold its lease"}}, "does not hold its lease"),
        ({"coordination": {"trouble": "etcd: no answer"}}, "the lease can't be renewed now"),
        ({"clock": {"error_ms": -150}}, "150 ms behind the others'"),
        ({"clock": {"far_ahead": {"iad/0.0": 3}}}, "3 events of iad/0.0"),
        ({"peers": {"iad": {"link": "new", "since_ms": 0, "error": "refused", "last_error": ""}}}, "not reached yet"),
        (
            {
                "peers": {
                    "iad": {"link": "ok", "since_ms": 1, "error": "disk", "last_error": "", "pulled_us_ms": NOW_MS}
                }
            },
            "can't be stored: disk",
        ),
        (
            {"peers": {"iad": STATUS["peers"]["iad"] | {"since_ms": 1, "pulled_us_ms": NOW_MS - 29_000}}},
            "iad has not pulled from here for 29 s: what is written here reaches it by way of others, or not at all",
        ),
        (
            {"peers": {"iad": STATUS["peers"]["iad"] | {"since_ms": NOW_MS - 11_000, "pulled_us_ms": 0}}},
            "iad has not pulled from here for 11 s",
        ),
    ],
)
def test_each_trouble_is_a_sentence(change: dict[str, Any], words: str) -> None:
    status = STATUS | {"parked": 0, "peers": {}} | change
    status["replication"] = STATUS["replication"] | change.get("replication", {})
    status["coordination"] = STATUS["coordination"] | change.get("coordination", {})
    status["clock"] = STATUS["clock"] | change.get("clock", {})
    (found,) = problems(status, "x")
    assert words in found


def test_a_clock_that_was_set_back_makes_no_time_negative() -> None:
    later = STATUS["peers"]["nrt"] | {"since_ms": NOW_MS + 3_600_000}
    back = STATUS | {"parked": 0, "peers": {"nrt": later}}
    assert problems(back, "fra.toml") == ["link to nrt has failed: no route"]
    assert not any("-3,6" in line for line in shown("status", {"problems": [], **back}))


def test_verify_says_who_is_alone() -> None:
    same = {"ok": True, "digests": {"fra": "ab" * 16, "iad": "ab" * 16}, "digests_equal": True}
    assert shown("verify", same) == ["equal: fra, iad are in the same state (digest abababababababab)"]
    assert "unseen: 3" in shown("verify", same | {"unseen": 3}), "what it does not know is shown all the same"
    parked = {"ok": False, "parked": {"fra": 2}, "unfinished": "…", "exit_code": 5}
    assert shown("verify", same | parked)[0] == "NOT FINISHED: fra 2 events are parked: planb parked list"
    differing = {
        "ok": False,
        "digests": {"fra": "ab" * 16, "iad": "ab" * 16, "nrt": "cd" * 16},
        "digests_equal": False,
        "differences": [{"table": "users", "range": 3, "rows": {"fra": 20, "iad": 20, "nrt": 19}}],
        "exit_code": 10,
    }
    lines = shown("verify", differing)
    assert lines[0] == "DIFFERENT: fra and iad abababababababab; nrt cdcdcdcdcdcdcdcd"
    assert any(line.split() == ["users", "3", "20", "20", "19"] for line in lines)


def test_a_drop_says_where_it_has_been_heard_of() -> None:
    answer = {"ok": True, "agreed": {"fra": True, "iad": True}, "dropped": {"fra": True, "iad": False}, "exit_code": 5}
    found = shown("parked", answer, "drop")
    assert found[0] == "dropped: all have agreed"
    assert [line.split() for line in found[-2:]] == [["fra", "yes", "yes"], ["iad", "yes", "not", "yet"]]
    not_all = answer | {"ok": False, "agreed": {"fra": True, "iad": False}}
    assert shown("parked", not_all, "drop")[0].startswith("not dropped: ")


def test_an_import_accounts_for_every_line() -> None:
    skipped = {"unknown_form": 3, "about_the_log": 2, "without_text": 1}
    bad = {"line": 1_004, "nick": "bob", "bytes": 17_000, "reason": "too_long"}
    log = {"file": "a.log", "chat": "G1", "lines": 1_009, "messages": 1_000, "membership": 2}
    log |= {"skipped": skipped, "refused": [bad]}
    assert shown("import", {"ok": True, "messages": 1_000, "seconds": 2.5, "files": [log]}) == [
        "1,000 messages told in 2.5 s",
        "",
        "a.log, chat G1: 1,009 lines read",
        "  1,000 messages told, 2 joins, parts and kicks",
        "  3 of no known form, 2 about the log, 1 without a text: skipped",
        "  1 refused",
        "  ✗ line 1,004: 17,000 bytes of bob, over 16,384 bytes",
    ]


def test_one_of_a_thing_is_not_told_as_several() -> None:
    one = {
        "file": "a.log", "chat": "G1", "lines": 1, "messages": 1, "membership": 0, "refused": [],
        "skipped": {"unknown_form": 0, "about_the_log": 0, "without_text": 0},
    }  # fmt: skip
    lines = text.of(Namespace(command="import"), {"messages": 1, "seconds": 1, "files": [one]}).splitlines()
    assert lines[0] == "1 message told in 1.0 s"
    assert lines[2:4] == ["a.log, chat G1: 1 line read", "  1 message told, 0 joins, parts and kicks"]


def test_damage_is_told_object_by_object_and_what_is_too_much_is_counted() -> None:
    names = DcNames({"fra": 1})
    found = [
        Damaged("archive/2048/", ["no segment is there"], ["a", "b", "c"]),
        Damaged("archive/2048/000000000001-000000000009.seg", ["one", "two", "three", "four"], ["a"]),
        *(Damaged(f"chunks/{n}", ["missing"], ["b"]) for n in range(20)),
    ]
    damages = described(found, names)
    assert [one["lane"] for one in damages[:3]] == ["fra/0.0", "fra/0.0", ""]
    lines = shown("snapshot", {"id": "b", "ok": False, "damages": damages}, "verify")
    assert lines[:6] == [
        "snapshot b is DAMAGED:",
        "  ✗ archive/2048/ (lane fra/0.0): no segment is there",
        "    without it 3 snapshots (a … c) can't be restored",
        f"    next: {damages[0]['next']}",
        "  ✗ archive/2048/000000000001-000000000009.seg (lane fra/0.0): one; two; three; and 1 more reasons",
        "    without it snapshot a can't be restored",
    ]
    assert lines[6].startswith("    next: move this one away, then copy this lane's segments of seqs 1 to 9 ")
    assert "  and 12 more objects; --json lists all" in lines
    refused = Corrupt("…", damages=damages)
    assert text.of_problem(refused) == lines[1:-1], "a refusal tells the same"
    assert text.of_problem(Corrupt("another")) == []


def test_a_damaged_snapshot_is_listed_with_its_reason_below() -> None:
    sound = {"id": "s1", "dc": "fra", "created_ms": 0, "rows": 1, "bytes": 2, "incarnation": 0}
    bad = {"id": "s2", "damaged": "snapshots/s2/manifest.json: empty"}
    lines = shown("snapshot", {"snapshots": [sound, bad], "objects": "/objects"}, "list")
    assert lines[2].split() == ["s2", "DAMAGED"]
    assert lines[3] == "  ✗ snapshots/s2/manifest.json: empty"
    assert shown("snapshot", {"snapshots": [], "objects": "/objects"}, "list") == ["  none", "in /objects"]


def test_long_lines_are_broken_between_words_and_nothing_is_lost() -> None:
    long = "  ✗ " + " ".join(["word"] * 40) + "/".join(["path"] * 40)
    lines = text.fitted(f"short\n\n{long}\n  a table   with  gaps", 80).split("\n")
    assert lines[:2] == ["short", ""] and lines[-1] == "  a table   with  gaps"
    assert lines[2].startswith("  ✗ word") and lines[3].startswith("    word")
    assert all(len(line) < 80 or "/" in line for line in lines)
    assert " ".join("\n".join(lines[2:-1]).split()) == " ".join(long.split())
    assert text.fitted(long, 20) == long, "too narrow to be of use"


def test_tables_are_aligned_and_empty_ones_say_none() -> None:
    assert text.table(("a", "number"), [("x", 1), ("longer", 2_000)]) == [
        "  a       number",
        "  x            1",
        "  longer   2,000",
    ]
    assert text.table(("a",), []) == ["  none"]


def test_an_answer_without_a_text_of_its_own_is_shown_whole() -> None:
    lines = shown("serve", {"dc": "nrt", "list": [{"a": 1, "b": "x"}, {"a": 22}], "map": {"k": "v"}, "no": []})
    assert lines == ["dc: nrt", "list:", "   a  b", "   1  x", "  22", "map:", "  k  v", "no: none"]


def test_sizes() -> None:
    assert [size(n) for n in (0, 999, 1_000, 1_234_567, 5 * 10**15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "5000.0 TB",
    ]


def test_every_command_that_answers_can_answer_as_json_and_as_text() -> None:
    config = ["--config", "x"]
    for words in (
        ["status", *config], ["verify", *config], ["parked", "list", *config], ["parked", "retry", *config],
        ["parked", "drop", "fra/0.0:1", *config], ["restore", *config],
        *(["snapshot", verb, *config] for verb in ("create", "list", "show", "verify")),
        ["link", "list"], ["dc", "list"], ["try"], ["import", "f", *config],
    ):  # fmt: skip
        assert parser().parse_args([*words, "--json"]).json
        assert parser().parse_args([*words, "--text"]).text


def test_every_command_says_what_it_does_in_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words, says in (
        (["status"], "What is wrong with a datacenter"), (["parked", "drop"], "Give one up for good"),
        (["snapshot", "verify"], "Check every chunk"), (["dc"], "Kill, burn and rebuild"),
        (["restore"], "Rebuild a burnt"),
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            parser().parse_args([*words, "--help"])
        assert f"\n\n{says}" in capsys.readouterr().out


def test_a_log_that_is_not_reachable_names_the_next_step() -> None:
    (line,) = text.of_problem(LogUnavailable())
    page = (ROOT / "docs/operations.md").read_text()
    assert line == "  next: start the log's Valkey: docs/operations.md, A Valkey is down"
    assert "\n## A Valkey is down\n" in page
