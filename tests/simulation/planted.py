"""Planted bugs: the checker is checked. Each is a small change to the text of production code, made for one run and
undone after it; each has to be caught by an invariant within its budget of seeds.

A bug whose text is no longer there fails loudly: then production has changed, and the bug is planted anew.
"""

import contextlib
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from tests.simulation.plan import Plan, plan_of


@dataclass(frozen=True)
class Bug:
    """`edits`: (module:function, text, text instead of it). `kinds` and `changes` direct the generator at it."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    kinds: tuple[str, ...]
    seeds: int = 20
    """How many histories it may take to be found."""
    changes: dict[str, Any] = field(default_factory=dict)

    def plan(self, seed: str) -> Plan:
        return plan_of(seed, self.kinds).smaller(**self.changes)


@contextlib.contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Production with this bug in it."""
    edits: dict[str, list[tuple[str, str]]] = {}
    for where, old, new in bug.edits:
        edits.setdefault(where, []).append((old, new))
    before: list[tuple[FunctionType, Any]] = []
    try:
        for where, changes in edits.items():
            function = function_at(where)
            before.append((function, function.__code__))
            function.__code__ = _changed(function, changes).__code__
        yield
    finally:
        for function, code in reversed(before):
            function.__code__ = code


def function_at(where: str) -> FunctionType:
    """module:function, or module:class.method."""
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name) if inspect.isclass(found) else getattr(found, name)
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "__func__", found)
    assert isinstance(found, FunctionType), where
    return found


def _changed(function: FunctionType, changes: list[tuple[str, str]]) -> FunctionType:
    source = textwrap.dedent(inspect.getsource(function))
    while source.startswith("@"):
        source = source.partition("\n")[2]
    for old, new in changes:
        assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times: {old}"
        source = source.replace(old, new)
    found: dict[str, Any] = {}
    exec(compile(source, f"<planted in {function.__qualname__}>", "exec"), function.__globals__, found)
    changed: FunctionType = found[function.__name__]
    return changed
