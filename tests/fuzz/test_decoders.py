"""Decoders against what is known to hurt them, and a second of a coverage-guided fuzzer for each."""

from pathlib import Path

import pytest

from tests.fuzz import decoding
from tests.fuzz.judge import judge_cost
from tests.fuzz.seeds import seeds, valid
from tests.fuzz.targets import TARGETS

UNFORGEABLE = {"answer_signature", "request_signature", "cursor_text", "token_text", "refresh_token_text"}
"""What they read has a MAC; to begin with a right one would be to have the key."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_once_broke_a_decoder_and_what_is_known_to_hurt_gives_a_value_or_the_documented_error(name: str) -> None:
    for data in seeds(name):
        judge_cost(TARGETS[name], data)


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - UNFORGEABLE))
def test_what_the_fuzzing_of_a_decoder_begins_with_is_read_by_it(name: str) -> None:
    TARGETS[name].run(valid()[name][0])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not decoding.GUIDED, reason="atheris has no wheel for this platform")
async def test_a_coverage_guided_fuzzer_finds_no_bytes_that_break_a_decoder(tmp_path: Path) -> None:
    told = await decoding.run(tmp_path, seconds=1, jobs=2, seed=1)
    assert told.keys() == TARGETS.keys()
    assert {name: one["broken"] for name, one in told.items() if one["broken"]} == {}
    assert all(one["executed"] > len(seeds(name)) for name, one in told.items())
