"""A long run keeps what each part told, goes on after one that fails, and is taken up where it was interrupted."""

import json
import sys
from pathlib import Path

import pytest

from tests.faults.kinds import KINDS as FAULTS
from tests.prove.__main__ import about, main
from tests.prove.figures import last_object, merged
from tests.prove.running import Kept, kept_at, result, run_stage
from tests.prove.stages import Part, Stage, stages
from tests.simulation.plan import KINDS


def saying(name: str, text: str, code: int = 0) -> Part:
    return Part(name, (sys.executable, "-c", f"print({text!r}); raise SystemExit({code})"))


def test_figures_of_parts_are_added() -> None:
    parts = [{"n": 1, "counts": {"a": 1}, "failed": [1]}, {"n": 2, "counts": {"a": 2, "b": 3}, "failed": []}]
    assert merged(parts) == {"n": 3, "counts": {"a": 3, "b": 3}, "failed": [1]}
    with pytest.raises(ValueError, match="'x' and 'y'"):
        merged([{"is": "x"}, {"is": "y"}])


def test_figures_are_the_last_object_that_was_printed() -> None:
    assert last_object('{"n": 1}\nwords\n{"n": 2}\nwords') == {"n": 2}
    with pytest.raises(ValueError, match="no figures"):
        last_object("words")


def test_a_part_that_fails_is_kept_as_such_and_the_others_are_run(tmp_path: Path) -> None:
    stage = Stage("x", (saying("1", '{"n": 1}', code=1), saying("2", "nothing"), saying("3", '{"n": 5}')))
    run_stage(stage, tmp_path, 1, lambda line: None)
    found = result(stage, tmp_path)
    assert (found["parts"], found["done"], found["figures"]) == (3, 3, {"n": 6})
    assert [(one["part"], one["code"]) for one in found["failed"]] == [("1", 1), ("2", 1)]
    assert "no figures" in found["failed"][1]["words"]


def test_what_was_done_is_not_done_again_and_what_failed_is(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    count = f"open({str(ran)!r}, 'a').write('x')"
    good, bad = (
        Part(name, (sys.executable, "-c", f"{count}; print('{{\"n\": 1}}'); raise SystemExit({code})"))
        for name, code in (("good", 0), ("bad", 3))
    )
    stage = Stage("x", (good, bad), beside=True)
    for _ in range(2):
        run_stage(stage, tmp_path, 2, lambda line: None)
    assert ran.read_text() == "xxx"
    assert result(stage, tmp_path)["failed"][0]["code"] == 3


def test_a_run_that_did_not_come_so_far_says_so(tmp_path: Path) -> None:
    stage = Stage("x", (saying("1", '{"n": 1}'),))
    assert result(stage, tmp_path)["done"] == 0


@pytest.mark.parametrize(("scale", "histories"), [(1.0, 10_000), (0.05, 500), (0.0001, 100)])
def test_the_scale_says_how_much_is_run(scale: float, histories: int, tmp_path: Path) -> None:
    first = stages(scale, tmp_path)[0]
    words = [part.command for part in first.parts]
    assert sum(int(one[one.index("--seeds") + 1]) for one in words) == histories
    assert len({one[one.index("--first") + 1] for one in words}) == len(words)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("faults", {"fired": {kind.__name__: 2 for kind in FAULTS}}),
        ("histories", {"counts": {f"fault: {kind}": 2 for kind in KINDS}}),
    ],
)
def test_a_kind_of_fault_that_never_fired_fails_the_run(
    name: str, kept: dict[str, dict[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.prove.__main__.page", lambda told: "")  # it wants every figure
    scale = 0.0001
    (tmp_path / "commit").write_text(about(scale)["commit"])
    (stage,) = (one for one in stages(scale, tmp_path) if one.name == name)
    words = ("--scale", str(scale), "--only", name, "--folder", str(tmp_path), "--no-page")

    def keep(figures: dict[str, dict[str, int]]) -> None:
        for part in stage.parts:
            kept_at(tmp_path, stage, part).write_text(json.dumps(Kept(0, 1.0, figures, "")._asdict()))

    keep(kept)
    assert main(words) == 0
    ((what, fired),) = kept.items()
    keep({what: {kind: times for kind, times in fired.items() if kind != min(fired)}})
    assert main(words) == 1
