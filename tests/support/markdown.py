"""Just enough Markdown to check the documentation: code, links and headings, each with its line."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "sdk").glob("*/README.md"), *(ROOT / "docs").rglob("*.md")], key=str)

_FENCE = re.compile(r"^```(\S*)\s*$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^()\s]+)\)")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


class Block(NamedTuple):
    """A block of code: fenced, or (language "indented") indented by four spaces after an empty line."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


class Place(NamedTuple):
    """A piece of a page's text."""

    page: Path
    line: int
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All code blocks. A fence that is never closed is a mistake of the page."""
    return _parts(page)[0]


def links(page: Path) -> list[Place]:
    """The targets of all links outside of code."""
    return [
        Place(page, place.line, target)
        for place in _parts(page)[1]
        for target in _LINK.findall(_SPAN.sub(lambda span: "`" + "x" * len(span[1]) + "`", place.text))
    ]


def spans(page: Path) -> list[Place]:
    """All `code spans`."""
    return [Place(page, place.line, span) for place in _parts(page)[1] for span in _SPAN.findall(place.text)]


def anchors(page: Path) -> set[str]:
    """What `#…` may follow the page's name: GitHub's slugs of its headings."""
    found: set[str] = set()
    for place in _parts(page)[1]:
        if place.text.startswith("#"):
            title = place.text.lstrip("#").strip().lower()
            slug = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
            found.add(slug)
    return found


def _parts(page: Path) -> tuple[list[Block], list[Place]]:
    """Code blocks, and the lines that are none."""
    code: list[Block] = []
    text: list[Place] = []
    fence: tuple[int, str, list[str]] | None = None
    indented: tuple[int, list[str]] | None = None
    blank = True
    for number, line in enumerate(page.read_text().splitlines(), 1):
        match = _FENCE.match(line)
        if fence is not None:
            if line == "```":
                code.append(Block(page, fence[0], fence[1], "\n".join(fence[2]) + "\n"))
                fence = None
            else:
                fence[2].append(line)
            continue
        if match:
            fence = (number, match[1], [])
        elif line.startswith("    ") and (blank or indented) and line.strip():
            indented = indented or (number, [])
            indented[1].append(line[4:])
            continue
        else:
            text.append(Place(page, number, line))
        if indented is not None:
            code.append(Block(page, indented[0], "indented", "\n".join(indented[1]) + "\n"))
            indented = None
        blank = not line.strip()
    assert fence is None, f"{page}: the code block of line {fence and fence[0]} is not closed"
    if indented is not None:
        code.append(Block(page, indented[0], "indented", "\n".join(indented[1]) + "\n"))
    return code, text
