"""The `planb` command. JSON goes to stdout, logs and progress to stderr; exit codes are those of core.errors."""

import argparse
import asyncio
import io
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cli.ending import Ended
from core.errors import Invalid, PlanBError
from stores.series import MEASURES

ROLES = ("all", "sys", "api", "broker", "replicator", "cron", "push")
Command = Callable[[argparse.Namespace], Awaitable[Any]]

EPILOG = """exit codes:
  0 done          1 internal        2 invalid           3 unauthenticated
  4 not_found     5 conflict        6 unavailable       7 corrupt
  8 config        9 snapshot_void  10 digest_differs

when something is wrong: planb status --config FILE, planb doctor --config FILE, and docs/operations.md
"""


async def _demo(args: argparse.Namespace) -> Any:
    from cli import demo

    return await demo.run(args)


async def _serve(args: argparse.Namespace) -> Any:
    from cli import serve

    await serve.run(args.config, args.role, args.port)


async def _to_demo(args: argparse.Namespace) -> Any:
    from cli import control

    return await control.call(args.command, args.verb, *args.names, pid=args.demo)


async def _dc(args: argparse.Namespace) -> Any:
    if args.lose and args.verb != "remove":
        raise Invalid("--lose is for remove")
    if args.verb not in ("add", "remove"):
        if args.config is not None:
            raise Invalid(f"--config is for add and remove: dc {args.verb} is done to a demo (--demo PID says which)")
        return await _to_demo(args)
    if args.config is None or len(args.names) != 1:
        raise Invalid(f"planb dc {args.verb} DC --config FILE")
    from cli import replication

    return await replication.run(args, args.names[0])


async def _try(args: argparse.Namespace) -> Any:
    from cli import control

    return await control.call("try", pid=args.demo)


async def _watch(args: argparse.Namespace) -> Any:
    from cli import watch

    await watch.run(args)


async def _snapshot(args: argparse.Namespace) -> Any:
    from cli import snapshots

    return await snapshots.snapshot(args)


async def _restore(args: argparse.Namespace) -> Any:
    from cli import restore

    return await restore.run(args)


async def _verify(args: argparse.Namespace) -> Any:
    from cli import operate

    return await operate.verify(args)


async def _parked(args: argparse.Namespace) -> Any:
    from cli import operate

    return await operate.parked(args)


async def _conflicts(args: argparse.Namespace) -> Any:
    from cli import lost_writes

    return await lost_writes.run(args)


async def _explain(args: argparse.Namespace) -> Any:
    from cli import explaining

    return await explaining.run(args)


async def _status(args: argparse.Namespace) -> Any:
    from cli import operate

    return await operate.status(args)


async def _series(args: argparse.Namespace) -> Any:
    from cli import series

    return await series.run(args)


async def _rebuild(args: argparse.Namespace) -> Any:
    from cli import operate

    return await operate.rebuild(args)


async def _token_keys(args: argparse.Namespace) -> Any:
    from cli import token_key_file

    return token_key_file.run(args.config, args.verb, args.name)


async def _doctor(args: argparse.Namespace) -> Any:
    from cli import doctor

    return await doctor.run(args)


async def _config_of(args: argparse.Namespace) -> Any:
    from cli import config

    return await config.run(args)


async def _import(args: argparse.Namespace) -> Any:
    from cli import importer

    return await importer.run(args)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="planb",
        description="Instant messaging over several datacenters:\nwrite anywhere, survive a cut, rebuild a burnt one.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"planb {version('planb')}")
    top.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = _command(commands, "demo", "run three datacenters on this machine")
    demo.add_argument("--headless", action="store_true", help="play the whole story without a person")
    demo.add_argument("--json", action="store_true", help="one JSON object as the last line of stdout")
    demo.add_argument("--input", action="append", type=Path, default=[], metavar="FILE", help="an IRC log (repeatable)")
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="of what is generated, and of the story (1)")
    demo.add_argument("--messages", type=int, default=600, metavar="N", help="so many are generated (600)")
    demo.add_argument("--home", type=Path, metavar="DIR", help="keep everything there (default: a temporary folder)")
    demo.add_argument(
        "--engines",
        choices=("embedded", "real"),
        default="embedded",
        help="real: two datacenters on the servers that `make servers` installed (embedded)",
    )
    demo.add_argument("--objects", choices=("folder", "s3"), help="where objects are (folder; with real engines S3)")
    demo.add_argument(
        "--stopped", type=float, default=60.0, metavar="S", help="so long a real server stands still, or is down (60)"
    )
    demo.set_defaults(run=_demo)

    serve = _command(commands, "serve", "run the services of one datacenter")
    serve.add_argument("role", choices=ROLES, help="which services: all, or one of them beside `sys`")
    _config(serve)
    serve.add_argument("--port", type=int, metavar="N", help="api, broker: listen there, not where the settings say")
    serve.set_defaults(run=_serve, log_level_else="info")

    keys = _command(commands, "token-keys", "list the keys that sign tokens, add one, let one sign, drop one")
    keys.add_argument("verb", choices=("list", "new", "first", "drop"))
    keys.add_argument("name", nargs="?", default="", metavar="NAME", help="of a key: first, drop")
    _config(keys)
    _output(keys)
    keys.set_defaults(run=_token_keys)

    trying = _command(commands, "try", "lines to paste while a demo runs: a token, curl, the websocket")
    watch = _command(commands, "watch", "print what the websocket pushes to a user")
    watch.add_argument("urls", nargs="+", metavar="URL", help="of a datacenter; further ones are used when it is down")
    watch.set_defaults(run=_watch)
    watch.add_argument("--json", action="store_true", help="one JSON object per line")
    watch.epilog = "The token is read from the environment: export PLANB_TOKEN=…"

    link = _command(commands, "link", "cut or heal a link of the running demo")
    link.add_argument("verb", choices=("cut", "heal", "list"))
    link.add_argument("names", nargs="*", metavar="DC", help="two datacenters")
    dc = _command(commands, "dc", "kill, burn and rebuild datacenters of the running demo; replicate to another one")
    dc.add_argument("verb", choices=("list", "kill", "burn", "start", "rebuild", "add", "remove"))
    dc.add_argument("names", nargs="*", metavar="DC", help="one datacenter")
    dc.add_argument("--config", type=Path, metavar="FILE", help="add and remove: whose Pulsar replicates to it")
    dc.add_argument("--lose", action="store_true", help="remove: also if something is not replicated yet")
    dc.epilog = (
        "Of the demo: kill is kill -9; start: on its disks; burn: delete the disks of a killed one; rebuild: all of it."
        " Of any other: add and remove say whether Pulsar brings a datacenter's lanes to another one's cluster."
    )
    for command in (link, dc, trying):
        command.add_argument("--demo", type=int, metavar="PID", help="which demo, where several run")
        command.set_defaults(run=_to_demo)
        _output(command)
    dc.set_defaults(run=_dc)
    trying.set_defaults(run=_try)

    _snapshot_parser(commands)

    status = _command(commands, "status", "what is wrong with a datacenter; lag, links, disks")
    _config(status)
    _output(status)
    status.add_argument("--check", action="store_true", help="exit code 1 if there are problems (else 0 all the same)")
    status.set_defaults(run=_status)

    verify = _command(commands, "verify", "compare the state digests of datacenters")
    _config(verify)
    verify.add_argument("--against", action="append", default=[], metavar="DC", help="a peer; repeatable (all)")
    verify.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="until all applied the same (30)")
    _output(verify)
    verify.set_defaults(run=_verify)

    parked = _command(commands, "parked", "events that could not be applied")
    # A parser per verb: with the verb as one more positional, argparse refuses places that follow an option.
    verbs = parked.add_subparsers(dest="verb", required=True)
    listing = _command(verbs, "list", "each with the reason")
    retry = _command(verbs, "retry", "try again, exactly where they stand")
    retry.add_argument("places", nargs="*", metavar="LANE:SEQ", help="e.g. fra/0.0:17 (default: all)")
    drop = _command(verbs, "drop", "give one up for good, in all datacenters together")
    drop.add_argument("places", nargs=1, metavar="LANE:SEQ", help="e.g. fra/0.0:17")
    for verb in (listing, retry, drop):
        _config(verb)
        _output(verb)
    parked.set_defaults(run=_parked)

    _conflicts_parser(commands)
    rebuild = _command(commands, "rebuild", "derive hot state of a running datacenter again from its other stores")
    rebuild.add_argument("what", choices=("hot",), help="dialogs, unread counts, updates: a new epoch begins")
    _config(rebuild)
    _output(rebuild)
    rebuild.set_defaults(run=_rebuild)

    series = _command(commands, "series", "what was measured over the last hours: lag, rates, presence, latency")
    verbs = series.add_subparsers(dest="verb", required=True)
    listing = _command(verbs, "list", "what there is, and since when")
    showing = _command(verbs, "show", "one kind of measurement, as a line over time; --json has every figure")
    showing.add_argument("kind", choices=tuple(MEASURES), metavar="KIND", help=", ".join(MEASURES))
    showing.add_argument("--since", default="1h", metavar="SPAN", help="how far back: 30m, 12h, 7d (1h)")
    showing.add_argument("--dc", metavar="DC", help="of one datacenter only (default: of all that the store has)")
    for verb in (listing, showing):
        _config(verb)
        _output(verb)
    series.set_defaults(run=_series)

    _config_parser(commands)
    doctor = _command(
        commands,
        "doctor",
        "try every engine that the settings name; says what to do, changes nothing",
    )
    _config(doctor)
    _output(doctor)
    doctor.set_defaults(run=_doctor, log_level_else="critical")

    importing = _command(commands, "import", "send an IRC log's conversations to running datacenters")
    importing.add_argument("files", nargs="+", type=Path, metavar="LOG", help="of mIRC, irssi or weechat")
    importing.add_argument(
        "--config",
        action="append",
        type=Path,
        required=True,
        metavar="FILE",
        help="settings of each datacenter (repeatable)",
    )
    _output(importing)
    importing.set_defaults(run=_import)
    return top


def _conflicts_parser(commands: Any) -> None:
    conflicts = _command(commands, "conflicts", "concurrent writes that lost, and writing one again")
    verbs = conflicts.add_subparsers(dest="verb", required=True)
    listing = _command(verbs, "list", "the newest first: what lost, and against what")
    listing.add_argument("--table", default="", metavar="TABLE", help="of one table: users, chats, dialogs …")
    listing.add_argument("--of", default="", metavar="ID", help="of one user, chat or conversation")
    listing.add_argument("--since", default="", metavar="SPAN", help="what was written so long ago at most (30d)")
    listing.add_argument("--until", default="", metavar="SPAN", help="what was written longer ago than that")
    listing.add_argument("--actor", default="", metavar="USER", help="what this user wrote and lost")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many (100)")
    listing.add_argument("--before", default="", metavar="EVENT", help="goes on where another list ended")
    showing = _command(verbs, "show", "both values, who wrote them when and where, and the rule")
    undo = _command(verbs, "undo", "write a value again that lost, as a new event")
    undo.add_argument("--dry-run", action="store_true", help="say what would be written, change nothing")
    for verb in (showing, undo):
        verb.add_argument("event", metavar="EVENT", help="the event that lost, as the list shows it")
        verb.add_argument("--field", default="", metavar="TABLE.COLUMN", help="where it lost in several")
    for verb in (listing, showing, undo):
        _config(verb)
        _output(verb)
    conflicts.set_defaults(run=_conflicts)

    explain = _command(
        commands, "explain", "where an event came from, when each datacenter applied it, what it lost to"
    )
    explain.add_argument("event", metavar="EVENT", help="an event's or a message's id")
    _config(explain)
    _output(explain)
    explain.set_defaults(run=_explain)


def _config_parser(commands: Any) -> None:
    config = _command(commands, "config", "what is wrong with the settings, and which are in force")
    verbs = config.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("check", "everything that is wrong with the settings, with what to write; exit code 8 if there is anything"),
        ("show", "the settings in force, and where each is from; as text a file that could be used again"),
    ):
        command = _command(verbs, verb, text)
        _config(command)
        _output(command)
    config.set_defaults(run=_config_of)


def _snapshot_parser(commands: Any) -> None:
    snapshot = _command(commands, "snapshot", "create, list, show and verify snapshots")
    verbs = snapshot.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("create", "dump the state while writing goes on; published when the archive covers it"),
        ("list", "all snapshots, oldest first"),
        ("show", "one snapshot's manifest"),
        ("verify", "check every chunk and the archive behind a snapshot"),
    ):
        command = _command(verbs, verb, text)
        _config(command)
        _output(command)
        if verb in ("show", "verify"):
            command.add_argument("id", nargs="?", help="default: the newest")
        if verb == "verify":
            command.add_argument("--all", action="store_true", help="every snapshot; the exit code is the worst")
    snapshot.set_defaults(run=_snapshot)

    restore = _command(commands, "restore", "rebuild a burnt datacenter from object storage")
    _config(restore)
    restore.add_argument("--snapshot", metavar="ID", help="default: the newest valid one")
    restore.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    _output(restore)
    restore.set_defaults(run=_restore)


def _command(commands: Any, name: str, what: str) -> argparse.ArgumentParser:
    """A subcommand; its own --help says what it does, too."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    return command


def _output(command: argparse.ArgumentParser) -> None:
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the answer as JSON, in one line")
    form.add_argument("--text", action="store_true", help="the answer as text (default on a terminal; else JSON)")


def _config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="the datacenter's settings")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if not words:  # who does not know it at all gets more than a line of usage
        parser().print_help(sys.stderr)
        return Invalid.exit_code
    args = parser().parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # what a locale has no character for is no reason to fail
    logging.basicConfig(
        level=(args.log_level or getattr(args, "log_level_else", "warning")).upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        import uvloop

        answer = uvloop.run(args.run(args))
    except PlanBError as error:
        _problem(args, error)
        return error.exit_code
    except Ended as ended:
        return ended.exit_code
    except KeyboardInterrupt:
        return 130
    except asyncio.CancelledError:  # by SIGTERM
        return 143
    if answer is not None:
        _show(args, answer)
    if isinstance(answer, dict) and answer.get("ok") is False:
        return int(answer.get("exit_code", 1))
    return 0


def _show(args: argparse.Namespace, answer: Any) -> None:
    as_json = getattr(args, "json", False)
    if getattr(args, "text", False) or (hasattr(args, "text") and not as_json and sys.stdout.isatty()):
        from cli import text

        shown = text.of(args, answer)
        if sys.stdout.isatty() and args.command != "try":  # what is to be pasted stays whole
            shown = text.fitted(shown, os.get_terminal_size(sys.stdout.fileno()).columns)
    else:
        escaped = (sys.stdout.encoding or "").lower() != "utf-8"
        shown = json.dumps(answer, ensure_ascii=escaped, indent=None if as_json else 2)
    try:
        print(shown, flush=True)
    except BrokenPipeError:  # `planb … | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _problem(args: argparse.Namespace, error: PlanBError) -> None:
    from cli import text

    lines = [f"planb {args.command}: {error.detail} [{error.code}]"]
    lines += [f"  cause: {error.private}"] if error.private else []
    said = "\n".join([*lines, *text.of_problem(error)])
    if sys.stderr.isatty():
        said = text.fitted(said, os.get_terminal_size(sys.stderr.fileno()).columns)
    print(said, file=sys.stderr)
    if getattr(args, "json", False):
        print(json.dumps({"ok": False, "code": error.code, "detail": error.detail} | error.members))


if __name__ == "__main__":
    sys.exit(main())
