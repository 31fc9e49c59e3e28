"""Answers as text, for whoever sits at a terminal: what is wrong comes first, then what was asked for."""

import argparse
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from cli import config_text, damages, doctor_text, explained_text, irc, series_text
from cli.doctor_text import SIGNS
from cli.tables import cell, instant, table
from cli.units import size
from core.errors import LogUnavailable, PlanBError

Answer = dict[str, Any]
_COLUMN = re.compile(rf"  [{''.join(SIGNS.values())}] (\S.*?)?\s{{2,}}(?=\S)")
"""What stands in front of a sentence that is a column: its further lines stand below it."""
FITTED_COLUMNS_MIN = 40
"""A narrower terminal breaks lines as it likes."""


def of(args: argparse.Namespace, answer: Answer) -> str:
    """The text of a command's answer. Members that a command's text does not know are shown as they are."""
    shown = _TEXTS.get((args.command, getattr(args, "verb", "")), _any)
    return "\n".join(line.rstrip() for line in shown(answer))


def of_problem(error: PlanBError) -> list[str]:
    """What a refusal has to say besides its sentence."""
    found = error.members.get("damages")
    if error.code == LogUnavailable.code:
        return ["  next: start the log's Valkey: docs/operations.md, A Valkey is down"]
    wrong = error.members.get("wrong")
    if isinstance(wrong, list):
        return [f"  {one['key']} → {one['write']}" for one in wrong if one["write"] and one["key"]]
    return damages.lines(found) if isinstance(found, list) else []


def fitted(text: str, columns: int) -> str:
    """Long lines broken between words, so that a terminal does not break them within."""
    lines = []
    for line in text.split("\n"):
        begin = _COLUMN.match(line)
        indent = " " * (begin.end() if begin else len(line) - len(line.lstrip()) + 2)
        whole = len(line) < columns or columns <= FITTED_COLUMNS_MIN
        lines += [line] if whole else textwrap.wrap(
            line, columns - 1, subsequent_indent=indent, drop_whitespace=True, break_long_words=False,
            break_on_hyphens=False, replace_whitespace=False,
        )  # fmt: skip
    return "\n".join(lines)


def _any(answer: Answer) -> list[str]:
    """Whatever it is."""
    lines = []
    for name, value in answer.items():
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            head = list(dict.fromkeys(key for one in value for key in one))
            lines += [f"{name}:", *table(head, ([one.get(key, "") for key in head] for one in value))]
        elif isinstance(value, dict) and value:
            lines += [f"{name}:", *table(("", ""), value.items())[1:]]
        elif not isinstance(value, dict | list):
            lines.append(f"{name}: {cell(value)}")
        else:
            lines.append(f"{name}: {'none' if not value else ', '.join(map(str, value))}")
    return lines


def _rest(answer: Answer, *known: str) -> list[str]:
    return _any({name: value for name, value in answer.items() if name not in known})


# -- a running datacenter


def _status(answer: Answer) -> list[str]:
    problems = answer["problems"]
    head = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "all is well"
    lags, now_ms = answer["lag_ms"], answer["now_ms"]
    peers = [
        (name, peer["link"], f"{(now_ms - peer['since_ms']) / 1000:,.0f} s" if 0 < peer["since_ms"] <= now_ms else "",
         lags.get(name, {}).get("p50_ms", ""), lags.get(name, {}).get("p99_ms", ""))
        for name, peer in answer["peers"].items()
    ]  # fmt: skip
    lanes = [
        (lane, answer["applied"].get(lane, 0), held, held - answer["applied"].get(lane, 0),
         "now" if lane in answer["written"] else "")
        for lane, held in answer["durable"].items()
    ]  # fmt: skip
    return [
        f"{answer['dc']}: {head}",
        *(f"  ✗ {problem}" for problem in problems),
        "",
        *table(("peer", "link", "for", "lag ms p50", "p99"), peers),
        "",
        *table(("lane", "applied", "held", "behind", "written here"), lanes),
        "",
        *_coordination(answer["coordination"]),
        f"queues: {_pairs(answer['queues'])}",
        f"stores: {_pairs(answer['stores'])}",
        f"disks: {', '.join(_disk(name, disk) for name, disk in answer['disks'].items())}",
        f"since the start: {_pairs(answer['counters'])}",
        f"clock: {_clock(answer['clock'])}",
        f"incarnation {answer['incarnation']}, epoch {answer['epoch']}, {instant(now_ms)} UTC",
    ]


def _coordination(found: Answer) -> list[str]:
    if not found:
        return []
    leaders = (f"{one['process']} leads {name} (term {one['term']})" for name, one in found["leaders"].items())
    lasts = "as long as it lives" if found["left_ms"] is None else f"for {found['left_ms'] / 1000:.1f} s unless renewed"
    rows = (
        (f"process {one['pid']} on {one['host']}", one["role"], one["state"],
         one["public_url"] or one["sys_url"],
         instant(one["since_ms"]))
        for one in found["processes"]
    )  # fmt: skip
    return [
        *table(("process", "role", "is", "reached at", "since (UTC)"), rows),
        f"lease: {'NONE' if found['refuses'] else lasts}, {found['kind']}",
        f"holds: {', '.join(found['held']) or 'nothing'}",
        *leaders,
        "",
    ]


def _disk(name: str, disk: Answer) -> str:
    return f"{name} {disk['error'] or size(disk['free_bytes']) + ' free of ' + size(disk['bytes'])}"


def _clock(clock: Answer) -> str:
    error_ms = clock["error_ms"]
    return "not compared with two others yet" if error_ms is None else f"{error_ms:+,} ms off the median of all"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {cell(value)}" for name, value in values.items())


def _verify(answer: Answer) -> list[str]:
    digests, parked = answer["digests"], answer.get("parked", {})
    known = ("ok", "digests", "digests_equal", "differences", "exit_code", "parked", "unfinished")
    waiting = [f"NOT FINISHED: {_pairs(parked)} events are parked: planb parked list"] if parked else []
    if answer["digests_equal"]:
        same = f"equal: {', '.join(digests)} are in the same state (digest {next(iter(digests.values()))[:16]})"
        return [*waiting, same, *_rest(answer, *known)]
    by_digest: dict[str, list[str]] = {}
    for name, digest in digests.items():
        by_digest.setdefault(digest, []).append(name)
    names = list(digests)
    return [
        *waiting,
        "DIFFERENT: " + "; ".join(f"{' and '.join(dcs)} {digest[:16]}" for digest, dcs in by_digest.items()),
        "",
        *table(
            ("table", "range", *(f"rows in {name}" for name in names)),
            ([one["table"], one["range"], *(one["rows"][name] for name in names)] for one in answer["differences"]),
        ),
        "",
        "ask once more; then docs/operations.md, “Digests differ”",
        *_rest(answer, *known),
    ]


# -- snapshots


def _snapshot_list(answer: Answer) -> list[str]:
    snapshots = answer["snapshots"]
    rows = [
        (one["id"], "DAMAGED", "", "", "", "")
        if "damaged" in one
        else (one["id"], one["dc"], instant(one["created_ms"]), one["rows"], size(one["bytes"]), one["incarnation"])
        for one in snapshots
    ]
    return [
        *table(("snapshot", "of", "made (UTC)", "rows", "size", "inc."), rows),
        *(f"  ✗ {one['damaged']}" for one in snapshots if "damaged" in one),
        *([] if snapshots else [f"in {answer['objects']}"]),
    ]


def _snapshot_create(answer: Answer) -> list[str]:
    took_s = answer["took_ms"] / 1000
    return [f"snapshot {answer['id']}: {answer['rows']:,} rows, {size(answer['bytes'])}, in {took_s:.1f} s"]


def _snapshot_show(answer: Answer) -> list[str]:
    tables = [(name, one["rows"], size(one["bytes"]), one["chunks"]) for name, one in answer["tables"].items()]
    f0, f1 = answer["f0"], answer["f1"]
    return [
        *_snapshot_create(answer),
        f"of {answer['dc']}, incarnation {answer['incarnation']}, {instant(answer['created_ms'])} UTC,"
        f" world {answer['world']}, epoch {answer['epoch']}",
        "",
        *table(("lane", "F0", "F1"), ((lane, f0.get(lane, 0), f1[lane]) for lane in f1)),
        "",
        *table(("table", "rows", "size", "chunks"), tables),
    ]


def _snapshot_verify(answer: Answer) -> list[str]:
    if "snapshots" in answer:
        return _snapshots_verify(answer)
    if answer["ok"]:
        return [f"snapshot {answer['id']} is sound: every chunk, and the archive behind it"]
    return [
        f"snapshot {answer['id']} is DAMAGED:",
        *damages.lines(answer["damages"]),
        "more on it: docs/operations.md, “A snapshot is damaged”",
    ]


def _snapshots_verify(answer: Answer) -> list[str]:
    count, bad = len(answer["snapshots"]), [one["id"] for one in answer["snapshots"] if not one["ok"]]
    many = f"{count} snapshot{'s are' if count > 1 else ' is'}"
    if not bad:
        return [f"{many} sound: every chunk, and the archive behind {'them' if count > 1 else 'it'}"]
    return [
        f"{len(bad)} of {many} DAMAGED:",
        *(f"  {id}" for id in bad),
        *damages.lines(answer["damages"]),
        "more on it: docs/operations.md, “A snapshot is damaged”",
    ]


def _restore(answer: Answer) -> list[str]:
    done = answer["done"]
    lanes = answer["lanes"].items()
    return [
        f"{'restored' if done else 'a restore would take'} snapshot {answer['snapshot']} of {answer['of']}:"
        f" {answer['rows']:,} rows,"
        f" {answer['log_records']:,} records into the log, {answer['events_to_replay']:,} of them to be replayed;"
        f" it writes as incarnation {answer['incarnation']}",
        *(f"  skipped {one['id']}: {one['reason']}" for one in answer["skipped_snapshots"]),
        *(f"  {name} did not answer: what it knows beyond the archive shows later" for name in answer["unasked"]),
        "",
        *table(("lane", "log from", "F0", "F1", "archived to"),
               ((name, lane["begin"] + 1, lane["f0"], lane["f1"], lane["end"]) for name, lane in lanes)),
        "",
        *([f"next: {answer['next']}"] if "next" in answer else []),
    ]  # fmt: skip


# -- parked events, the demo, imports


def _parked(answer: Answer) -> list[str]:
    if not answer["parked"]:
        return ["no event is parked"]
    head = list(dict.fromkeys(key for one in answer["parked"] for key in one))
    return table(head, ([str(one.get(key, "")) for key in head] for one in answer["parked"]))


def _retried(answer: Answer) -> list[str]:
    if not answer["applied"] and not answer["parked"]:
        return ["no event is parked"]
    return [f"{len(answer['applied'])} applied, {len(answer['parked'])} still parked", *_rest(answer)]


def _dropped(answer: Answer) -> list[str]:
    end = (
        "dropped: all have agreed" if answer["ok"] else "not dropped: where it was applied it stays, so retry elsewhere"
    )
    rows = (
        (dc, "yes" if said else "no", "yes" if answer["dropped"][dc] else "not yet")
        for dc, said in answer["agreed"].items()
    )
    return [end, *table(("datacenter", "agreed", "dropped"), rows)]


def _try(answer: Answer) -> list[str]:
    return list(answer["page"])


def _of_demo(answer: Answer) -> list[str]:
    """What was done, and in which demo."""
    demo = f"demo {answer['demo']}, {answer['home']}"
    return [f"{answer['did']} ({demo})"] if "did" in answer else [f"{demo}:"]


def _links(answer: Answer) -> list[str]:
    return [*_of_demo(answer), *table(("link", "state"), answer["links"].items())]


def _dcs(answer: Answer) -> list[str]:
    return [*_of_demo(answer), *table(("datacenter", "state"), answer["datacenters"].items())]


def _rebuilt(answer: Answer) -> list[str]:
    return [*_of_demo(answer), *_restore(answer)]


def _import(answer: Answer) -> list[str]:
    lines = [f"{_count(answer['messages'], 'message')} told in {answer['seconds']:,.1f} s"]
    for one in answer["files"]:
        skipped, refused = one["skipped"], one["refused"]
        lines += [
            "",
            f"{one['file']}, chat {one['chat']}: {_count(one['lines'], 'line')} read",
            f"  {_count(one['messages'], 'message')} told, {one['membership']:,} joins, parts and kicks",
            f"  {skipped['unknown_form']:,} of no known form, {skipped['about_the_log']:,} about the log,"
            f" {skipped['without_text']:,} without a text: skipped",
            f"  {len(refused):,} refused",
            *(
                f"  ✗ line {bad['line']:,}: {bad['bytes']:,} bytes of {bad['nick']}, {irc.REASONS[bad['reason']]}"
                for bad in refused
            ),
        ]
    return lines


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


_TEXTS: dict[tuple[str, str], Callable[[Answer], list[str]]] = {
    ("status", ""): _status,
    ("verify", ""): _verify,
    ("snapshot", "list"): _snapshot_list,
    ("snapshot", "create"): _snapshot_create,
    ("snapshot", "show"): _snapshot_show,
    ("snapshot", "verify"): _snapshot_verify,
    ("restore", ""): _restore,
    ("series", "list"): series_text.listed,
    ("series", "show"): series_text.drawn,
    ("rebuild", ""): doctor_text.rebuilt,
    ("doctor", ""): doctor_text.examined,
    ("config", "check"): config_text.checked,
    ("config", "show"): config_text.shown,
    ("conflicts", "list"): explained_text.listed,
    ("conflicts", "show"): explained_text.shown,
    ("conflicts", "undo"): explained_text.undone,
    ("explain", ""): explained_text.explained,
    ("parked", "list"): _parked,
    ("parked", "retry"): _retried,
    ("parked", "drop"): _dropped,
    ("try", ""): _try,
    ("link", "cut"): _links,
    ("link", "heal"): _links,
    ("link", "list"): _links,
    ("dc", "list"): _dcs,
    ("dc", "rebuild"): _rebuilt,
    **{("dc", verb): _of_demo for verb in ("kill", "burn", "start")},
    ("import", ""): _import,
}
