"""Docs are run too: what they tell a reader to type is understood, and what they point at is there."""

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cli.main import parser
from core.tables import ALL_TABLES
from tests.support.markdown import PAGES, ROOT, Block, Place, anchors, blocks, links, spans
from tests.support.routes import ROUTES
from tests.support.shell import called

EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
EACH_MANUAL_PAGE = pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name != "decisions"],  # a decision may name what was not chosen
    ids=lambda page: str(page.relative_to(ROOT)),
)
SHELL = ("sh", "bash", "indented")
KNOWN_LANGUAGES = {*SHELL, "python", "json", "toml", "mermaid", "text", "js", "html", ""}
"""What is js or html is tried by tests/e2e/test_sdk_js.py."""


def code(page: Path, *languages: str) -> list[Block]:
    return [block for block in blocks(page) if block.language in languages]


def scripts(page: Path) -> list[tuple[str, str]]:
    """(where, text) of everything on a page that is to be typed."""
    return [(block.where, block.text) for block in code(page, *SHELL)]


def spoken(page: Path, program: str) -> list[tuple[str, list[str]]]:
    """Calls that stand within a sentence; they may be incomplete: `planb parked list`."""
    return [
        (span.where, span.text.split()[1:])
        for span in spans(page)
        if (words := span.text.split()) and Path(words[0]).name == program
    ]


def all_calls(program: str) -> list[Any]:
    return [
        pytest.param(arguments, id=f"{where} {' '.join(arguments)}")
        for page in PAGES
        for where, text in scripts(page)
        for arguments in called(text, program)
    ]


# -- commands


@pytest.mark.parametrize("arguments", all_calls("planb"))
def test_every_planb_command_is_understood(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        parser().parse_args(arguments)
    except SystemExit as ended:
        assert ended.code == 0, capsys.readouterr().err  # --help ends with 0


def understood_so_far(words: Sequence[str]) -> bool:
    """Whether a call may begin so: every word up to the first option or placeholder is a verb that there is."""
    verbs: Any = parser()
    for word in words:
        if word.startswith("-") or not re.fullmatch(r"[a-z|]+", word):
            return True
        choices = [action.choices for action in verbs._actions if action.choices and not action.option_strings]
        if not choices:
            return True
        if not all(one in choices[0] for one in word.split("|")):
            return False
        if not isinstance(choices[0], dict):
            return True
        verbs = choices[0][word.split("|")[0]]
    return True


@EACH_MANUAL_PAGE
def test_every_planb_command_in_a_sentence_exists(page: Path) -> None:
    unknown = [
        f"{where}: planb {' '.join(words)}" for where, words in spoken(page, "planb") if not understood_so_far(words)
    ]
    assert not unknown


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@EACH_PAGE
def test_every_make_target_exists(page: Path) -> None:
    calls = [(where, arguments) for where, text in scripts(page) for arguments in called(text, "make")]
    for where, arguments in [*calls, *spoken(page, "make")]:
        targets = [word for word in arguments if "=" not in word and not word.startswith(("-", '"'))]
        assert set(targets[:1]) <= make_targets(), f"{where}: make {' '.join(arguments)}"


def arguments_of_demo() -> list[Any]:
    return [
        pytest.param(shlex.split(word.removeprefix("ARGS=")), id=f"{where} {word}")
        for page in PAGES
        for where, text in scripts(page)
        for arguments in called(text, "make")
        if arguments[:1] == ["demo"]
        for word in arguments[1:]
    ]


@pytest.mark.parametrize("arguments", arguments_of_demo())
def test_what_make_passes_on_to_the_demo_is_understood(arguments: list[str]) -> None:
    parser().parse_args(["demo", *arguments])


def shell_blocks() -> list[Any]:
    return [pytest.param(block, id=block.where) for page in PAGES for block in code(page, "sh", "bash")]


@pytest.mark.parametrize("block", shell_blocks())
def test_every_shell_block_is_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, timeout=10, check=False)
    assert done.returncode == 0, done.stderr


# -- what is pointed at


@EACH_PAGE
def test_every_relative_link_resolves(page: Path) -> None:
    broken = [link.where + " " + link.text for link in links(page) if not resolves(link)]
    assert not broken


def resolves(link: Place) -> bool:
    if urlsplit(link.text).scheme:
        return link.text.startswith("https://")
    name, _, anchor = link.text.partition("#")
    target = link.page if not name else (link.page.parent / name).resolve()
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target))


FILES = re.compile(r"(?:[a-z_]+/)+[a-z_.*{},]*[a-z_*}](?:\.(?:py|lua|md|toml))?|(?:[a-z_]+/)+")
FOLDERS = ("core/", "events/", "stores/", "replicator/", "snapshot/", "api/", "broker/", "cli/", "bench/", "sdk/",
           "tests/", "docs/")  # fmt: skip


@EACH_PAGE
def test_every_file_that_is_named_is_there(page: Path) -> None:
    missing = []
    for span in spans(page):
        if span.text.startswith(FOLDERS) and FILES.fullmatch(span.text):
            alternatives = re.search(r"\{([^}]*)\}", span.text)
            names = alternatives[1].split(",") if alternatives else [""]
            paths = [re.sub(r"\{[^}]*\}", name, span.text) for name in names]
            missing += [f"{span.where}: {path}" for path in paths if not list(ROOT.glob(path.rstrip("/")))]
    assert not missing


@EACH_PAGE
def test_every_fence_names_a_language_that_is_checked(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= KNOWN_LANGUAGES


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs/README.md"
    named = {(index.parent / link.text.partition("#")[0]).resolve() for link in links(index)}
    assert not {page for page in PAGES if page.parent == ROOT / "docs" and page != index} - named
    assert ROOT / "docs/decisions" in named


# -- what is shown


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.where) for page in PAGES for block in code(page, "mermaid")]
)
def test_every_diagram_has_a_kind_and_balanced_parts(block: Block) -> None:
    lines = block.text.split("\n")
    assert re.match(r"(flowchart (LR|TB|TD)|sequenceDiagram|stateDiagram-v2|graph (LR|TD))$", lines[0])
    assert len([line for line in lines if line.strip()]) > 2
    starts = sum(bool(re.match(r"\s*(subgraph|alt|opt|loop|par|rect)\b", line)) for line in lines)
    assert starts == sum(line.strip() == "end" for line in lines)


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.where) for page in PAGES for block in code(page, "python")]
)
def test_every_python_block_compiles(block: Block) -> None:
    """That of the SDK's README is also run, by tests/integration/test_sdk.py."""
    compile(block.text, block.where, "exec")


def test_the_page_of_actions_is_up_to_date() -> None:
    # In a process of its own: whoever imported the simulation before has one action more.
    code = "import sys; from api import semantics_table; sys.stdout.write(semantics_table.page())"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs/semantics.md").read_text() == made, "run: python -m api.semantics_table"


# -- REST

CALL = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/(?:v1|sys/v1|openapi|docs|livez|readyz|metrics)[^\s]*)")


def known(method: str, target: str) -> bool:
    parts = urlsplit(target).path.split("/")
    return any(
        method == at and len(parts) == len(template.split("/")) and all(map(matches, template.split("/"), parts))
        for at, template in ROUTES
    )


def matches(template: str, part: str) -> bool:
    return template == part or (template.startswith("{") and bool(part))


@EACH_MANUAL_PAGE
def test_every_call_that_is_named_exists(page: Path) -> None:
    named = [(span.where, match) for span in spans(page) if (match := CALL.fullmatch(span.text))]
    unknown = [f"{where}: {match[0]}" for where, match in named if not known(match[1], match[2].partition("?")[0])]
    assert not unknown


def test_what_grows_names_every_table() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    part = page.split("\n## What grows\n")[1].split("\n## ")[0]
    missing = [table for table in (*ALL_TABLES, "overwrites", "results", "parked") if f"`{table}`" not in part]
    assert not missing, f"say whether they are bounded, and why: {missing}"
